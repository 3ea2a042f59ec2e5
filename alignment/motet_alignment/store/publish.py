"""From a folder of PEFT's to a whole version: copied, checked as copied, described, and written through to the disk."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version as distribution_version
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from motet_alignment.errors import NotFound, Refused, StoreError
from motet_alignment.store.base import TEMPLATE_BYTES, BaseFolder, template_text
from motet_alignment.store.engine_files import config_bytes, write_engine_files
from motet_alignment.store.files import copy_new, open_regular, read_bytes, sync_folder, write_new
from motet_alignment.store.fingerprint import template_sha256
from motet_alignment.store.lora import CONFIG, CONFIG_BYTES, WEIGHTS, WEIGHTS_BYTES, check_config, check_lora
from motet_alignment.store.manifest import (
    MANIFEST,
    VERSION_DIGITS,
    BaseFingerprint,
    Kind,
    Manifest,
    check_finite,
    content_digest,
    first_complaint,
    manifest_bytes,
)
from motet_alignment.store.template import check_template

TEMPLATE = "chat_template.jinja"
_PUBLISHED = frozenset({CONFIG, WEIGHTS, TEMPLATE})
_PICKLED_WEIGHTS = ("adapter_model.bin", "adapter_model.pt", "adapter_model.pth", "adapter_model.pkl")


@dataclass(frozen=True)
class Story:
    """Where an adapter came from: what its manifest tells beside its content."""

    parents: tuple[str, ...]
    data: tuple[Any, ...]
    settings: Mapping[str, Any]
    metrics: Mapping[str, Any]


def left_out(folder: Path) -> list[str]:
    """The names in ``folder`` that publishing doesn't take along, in order. Raises NotFound if it is no folder."""
    _check_folder(folder)
    return sorted(entry.name for entry in folder.iterdir() if entry.name not in _PUBLISHED)


def build(
    staging: Path,
    folder: Path,
    *,
    name: str,
    kind: Kind,
    base: BaseFingerprint,
    base_folder: Path,
    story: Story,
) -> Manifest:
    """Fills the empty folder ``staging`` with the version that ``folder`` makes.

    What is checked is the copy, so that nobody can change it afterwards. Raises StoreError, Refused, NotFound, OSError.
    """
    _check_folder(folder)
    # Whoever calls is trusted with the base's whole fingerprint, but two figures are cheap to hold it to.
    known = BaseFolder(base_folder)
    if (known.number("hidden_size"), known.number("vocab_size")) != (base.hidden_size, base.vocab_size):
        raise StoreError(f"{base_folder} is not the base {base.name} that the fingerprint was taken of")
    if not (folder / WEIGHTS).exists():
        for pickled in _PICKLED_WEIGHTS:
            if os.path.lexists(folder / pickled):
                raise Refused(
                    f"{folder / pickled} is a pickle, which is never read; save the adapter as safetensors "
                    "(PEFT does unless told otherwise)"
                )
    files: dict[str, str] = {}
    for file, limit in ((CONFIG, CONFIG_BYTES), (WEIGHTS, WEIGHTS_BYTES)):
        source = _open_source(folder, file)
        try:
            files[file] = copy_new(source, staging / file, limit)
        finally:
            os.close(source)
    try:
        # Checked first as it came, before it is put in order.
        config = config_bytes(check_config(staging / CONFIG, kind), base.name)
        (staging / CONFIG).unlink()
        files[CONFIG] = write_new(staging / CONFIG, config)
        lora = check_lora(staging, kind, known, hidden_size=base.hidden_size)
    except Refused as error:
        # About the file that its maker knows, not about the copy, which is gone by then.
        raise Refused(str(error).replace(str(staging), str(folder))) from None
    _check_vocabulary(folder, known)
    own = _own_template(folder, base)
    if own is not None:
        check_template(own, TEMPLATE)
        files[TEMPLATE] = write_new(staging / TEMPLATE, own.encode())
    if kind == "reward":
        files.update(write_engine_files(staging, lora, base.name))
    for kept, place in ((story.settings, "settings"), (story.metrics, "metrics")):
        check_finite(kept, place)
    try:
        manifest = Manifest(
            name=name,
            version=content_digest(files, kind, base)[:VERSION_DIGITS],
            kind=kind,
            base=base,
            chat_template=None if own is None else template_sha256(own),
            rank=lora.rank,
            target_modules=lora.target_modules,
            parents=story.parents,
            data=story.data,
            settings=dict(story.settings),
            metrics=dict(story.metrics),
            files=files,
            created=datetime.now(UTC).isoformat(timespec="microseconds"),
            motet=distribution_version("motet"),
        )
    except ValidationError as error:
        raise StoreError(f"what is to be kept of {name}: {first_complaint(error)}") from None
    write_new(staging / MANIFEST, manifest_bytes(manifest))
    sync_folder(staging)
    return manifest


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise NotFound(f"there is no adapter folder {folder}")


def _open_source(folder: Path, name: str) -> int:
    path = folder / name
    try:
        return open_regular(path, follow=_in_hub_cache(path))
    except FileNotFoundError:
        raise NotFound(f"{folder} has no {name}; it is no adapter that PEFT saved") from None


def _in_hub_cache(path: Path) -> bool:
    """Whether ``path`` is one of the links of which the hub's own cache consists."""
    snapshots = path.parent.parent
    return (
        path.is_symlink()
        and snapshots.name == "snapshots"
        and path.resolve().parent == snapshots.parent.resolve() / "blobs"
    )


def _as_model(folder: Path) -> BaseFolder:
    """The tokenizer's files that trainers save beside an adapter."""
    return BaseFolder(folder, follow=folder.parent.name == "snapshots")


def _own_template(folder: Path, base: BaseFingerprint) -> str | None:
    """The chat template that the adapter brings, unless it is the base's own."""
    path = folder / TEMPLATE
    if os.path.lexists(path):
        own: str | None = template_text(read_bytes(path, TEMPLATE_BYTES, follow=_in_hub_cache(path)), path)
    else:
        own = _as_model(folder).chat_template()
    return None if own is None or template_sha256(own) == base.chat_template else own


def _check_vocabulary(folder: Path, base: BaseFolder) -> None:
    """Refuses an adapter that was trained with tokens that its base doesn't have."""
    own, known = (_vocabulary(of) for of in (_as_model(folder), base))
    if own is None or known is None:
        return
    for token, number in own.items():
        if known.get(token) != number:
            has = f"gives it {known[token]}" if token in known else "has none such"
            raise Refused(
                f"{folder / 'tokenizer.json'} numbers the token {token[:40]!r} {number}, the base {has}; "
                "it belongs to another tokenizer"
            )


def _vocabulary(folder: BaseFolder) -> dict[str, int] | None:
    rules = folder.tokenizer_json()
    if rules is None:
        return None
    model, added = rules.get("model"), rules.get("added_tokens")
    vocabulary: dict[str, int] = {}
    if isinstance(model, dict) and isinstance(words := model.get("vocab"), dict):
        vocabulary.update(words)
    for token in added if isinstance(added, list) else ():
        if isinstance(token, dict) and {"content", "id"} <= set(token):
            vocabulary[str(token["content"])] = token["id"]
    return vocabulary
