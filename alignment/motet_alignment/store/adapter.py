"""One published version, and where its parts lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from motet_alignment.store.engine_files import ENGINE, SCORE
from motet_alignment.store.manifest import Kind, Manifest
from motet_alignment.store.publish import TEMPLATE


@dataclass(frozen=True)
class Adapter:
    """One published version."""

    manifest: Manifest
    path: Path

    @property
    def name(self) -> str:
        """Its name, which other versions share."""
        return self.manifest.name

    @property
    def version(self) -> str:
        """The first 12 digits of its content's hash."""
        return self.manifest.version

    @property
    def kind(self) -> Kind:
        """What it was trained for."""
        return self.manifest.kind

    @property
    def reference(self) -> str:
        """``NAME@VERSION``."""
        return self.manifest.reference

    @property
    def engine_path(self) -> Path:
        """The folder that an engine may load: a plain LoRA, without a reward adapter's head."""
        return self.path / ENGINE if self.kind == "reward" else self.path

    @property
    def head_path(self) -> Path | None:
        """A reward adapter's head, the tensor ``score.weight`` of shape [1, hidden]; None for other kinds."""
        return self.path / ENGINE / SCORE if self.kind == "reward" else None

    @property
    def chat_template(self) -> str | None:
        """The text of its own chat template; None where the base's is used. Raises OSError."""
        return (self.path / TEMPLATE).read_text("utf-8") if self.manifest.chat_template else None
