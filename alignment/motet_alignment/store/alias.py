"""Which version a name stands for, which it stood for before, and every move since."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from motet_alignment.errors import Refused
from motet_alignment.store.files import read_json, replace_file
from motet_alignment.store.manifest import canonical, first_complaint

ALIAS = "alias.json"
KEPT = 1000
_BYTES = 2**20

Version = Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
How = Literal["publish", "promote", "rollback", "remove"]


class Move(BaseModel):
    """One change of what a name stands for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Version | None = Field(description="What it stood for from then on; null: nothing.")
    by: How = Field(description="What moved it.")
    at: str = Field(max_length=40, description="When, UTC, ISO 8601.")


class Alias(BaseModel):
    """``alias.json`` of a name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    current: Version | None = Field(default=None, description="What the name stands for.")
    before: tuple[Version, ...] = Field(
        default=(), max_length=KEPT, description="What rollbacks go back to, the next one last."
    )
    history: tuple[Move, ...] = Field(default=(), max_length=KEPT, description="Its moves, oldest first.")

    def promoted(self, version: str, by: How) -> Alias:
        """Stands for ``version``; what it stood for is what a rollback goes back to."""
        if version == self.current:
            return self
        before = self.before if self.current is None else (*self.before, self.current)
        return self._moved(version, before, by)

    def rolled_back(self) -> Alias:
        """Stands for what it stood for before; again, for what came before that. Raises Refused if nothing did."""
        if not self.before:
            raise Refused("no version was current before this one")
        return self._moved(self.before[-1], self.before[:-1], "rollback")

    def without(self, gone: Collection[str], instead: str | None) -> Alias:
        """Never goes back to the versions ``gone``; stands for ``instead`` if it stood for one of them."""
        before = tuple(version for version in self.before if version not in gone)
        if self.current not in gone:
            return self.model_copy(update={"before": _tidy(before, self.current)})
        return self._moved(instead, before, "remove")

    def _moved(self, version: str | None, before: tuple[str, ...], by: How) -> Alias:
        move = Move(version=version, by=by, at=datetime.now(UTC).isoformat(timespec="microseconds"))
        return Alias(current=version, before=_tidy(before, version), history=(*self.history, move)[-KEPT:])


def _tidy(before: tuple[str, ...], current: str | None) -> tuple[str, ...]:
    # A removal may leave the same version twice in a row; going back from a version to itself is no step.
    kept: list[str] = []
    for version in before:
        if not kept or kept[-1] != version:
            kept.append(version)
    if kept and kept[-1] == current:
        kept.pop()
    return tuple(kept[-KEPT:])


def read_alias(folder: Path) -> Alias:
    """The alias of the name whose folder it is; empty if it was never set. Raises Refused if damaged, or OSError."""
    path = folder / ALIAS
    try:
        return Alias.model_validate(read_json(path, _BYTES))
    except FileNotFoundError:
        return Alias()
    except (ValidationError, Refused) as error:
        reason = f"{path}: {first_complaint(error)}" if isinstance(error, ValidationError) else str(error)
        raise Refused(f"{reason}; promoting {folder.name}@VERSION writes it anew") from None


def write_alias(folder: Path, alias: Alias) -> None:
    """Moves the name at once; the caller holds the name's lock. Raises OSError."""
    replace_file(folder / ALIAS, canonical(alias.model_dump(mode="json")) + b"\n")
