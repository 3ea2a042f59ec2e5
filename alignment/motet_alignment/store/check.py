"""What is checked of a published version: when it is looked up, and before an engine loads it."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from motet_alignment.errors import NotFound, Refused
from motet_alignment.store.base import TEMPLATE_BYTES, BaseFolder, template_text
from motet_alignment.store.engine_files import ENGINE, ENGINE_FILES, SCORE
from motet_alignment.store.files import disk_errors, file_sha256, read_bytes, read_json
from motet_alignment.store.lora import CONFIG, HEAD, WEIGHTS, check_lora
from motet_alignment.store.manifest import (
    MANIFEST,
    MANIFEST_BYTES,
    VERSION_DIGITS,
    BaseFingerprint,
    Manifest,
    parse_manifest,
)
from motet_alignment.store.publish import TEMPLATE
from motet_alignment.store.template import check_template
from motet_alignment.store.weights import check_finite_weights, read_header

if TYPE_CHECKING:
    from motet_alignment.store.adapter import Adapter


def read_version(path: Path) -> Manifest:
    """The manifest of the version in ``path``. Raises NotFound, Refused if it isn't what its place says it is."""
    if path.is_symlink():
        raise Refused(f"{path} is a symbolic link; a version is a folder")
    where = path / MANIFEST
    try:
        manifest = parse_manifest(read_json(where, MANIFEST_BYTES), str(where))
    except FileNotFoundError:
        if not path.exists():
            raise NotFound(f"there is no {path.parent.name}@{path.name}") from None
        raise Refused(f"{path} has no {MANIFEST}; it was not published here") from None
    if (manifest.name, manifest.version) != (path.parent.name, path.name):
        raise Refused(f"{where} is of {manifest.reference}, not of {path.parent.name}@{path.name}")
    if manifest.digest()[:VERSION_DIGITS] != manifest.version:
        raise Refused(
            f"{where}: what it says of its content doesn't hash to {manifest.version}; it was changed"
        )
    needed = {CONFIG, WEIGHTS, *(ENGINE_FILES if manifest.kind == "reward" else ())}
    if manifest.chat_template is not None:
        needed.add(TEMPLATE)
    if set(manifest.files) != needed:
        raise Refused(f"{where}: files must be {', '.join(sorted(needed))}")
    return manifest


def verify_version(path: Path, manifest: Manifest) -> None:
    """Hashes every file of the version. Raises Refused naming one that differs, is missing or doesn't belong."""
    expected = {*manifest.files, MANIFEST}
    if manifest.kind == "reward":
        expected.add(ENGINE)
    for folder in (path, path / ENGINE) if manifest.kind == "reward" else (path,):
        try:
            entries = list(os.scandir(folder))
        except FileNotFoundError:
            raise Refused(f"{folder} is missing") from None
        for entry in entries:
            relative = os.path.relpath(entry.path, path)
            if relative not in expected:
                raise Refused(
                    f"{entry.path} doesn't belong to {manifest.reference}; it was put there afterwards"
                )
            mode = entry.stat(follow_symlinks=False).st_mode
            if not (stat.S_ISDIR(mode) if relative == ENGINE else stat.S_ISREG(mode)):
                raise Refused(f"{entry.path} is not a plain file; it was put there afterwards")
    for relative, published in manifest.files.items():
        try:
            found = file_sha256(path / relative)
        except FileNotFoundError:
            raise Refused(f"{path / relative} is missing") from None
        if found != published:
            raise Refused(f"{path / relative} is not what was published; its bytes have changed")


def check(
    adapter: Adapter, base: BaseFingerprint, max_rank: int | None = None, *, base_folder: Path | None = None
) -> None:
    """Whether an engine that serves ``base`` may load ``adapter``; nothing unchecked may reach one.

    Compares fingerprints, bounds the rank by ``max_rank``, hashes every file and looks at configuration, shapes and
    numbers once more; with ``base_folder`` at the shapes of the base's own modules too. The chat template counts only
    if the adapter brings none. Raises Refused saying what is wrong.
    """
    manifest = adapter.manifest
    different = manifest.base.differences(base, template=manifest.chat_template is None)
    if different:
        raise Refused(
            f"{adapter.reference} was trained on another base ({manifest.base.name}) than {base.name}: different "
            f"{' and '.join(different)}"
        )
    if max_rank is not None and manifest.rank > max_rank:
        raise Refused(
            f"{adapter.reference} is of rank {manifest.rank}; the engine was started for {max_rank}"
        )
    with disk_errors(f"checking {adapter.reference}"):
        verify_version(adapter.path, manifest)
        known = None if base_folder is None else BaseFolder(base_folder)
        try:
            lora = check_lora(adapter.path, manifest.kind, known, hidden_size=base.hidden_size)
            if lora.rank != manifest.rank:
                raise Refused(f"{WEIGHTS} is of rank {lora.rank}, {MANIFEST} says {manifest.rank}")
            if manifest.chat_template is not None:
                template = adapter.path / TEMPLATE
                check_template(template_text(read_bytes(template, TEMPLATE_BYTES), template), TEMPLATE)
            if manifest.kind == "reward":
                _check_engine_files(adapter.path / ENGINE, known, base.hidden_size, set(lora.tensors))
        except Refused as error:
            raise Refused(f"{adapter.reference}: {error}") from None


def _check_engine_files(engine: Path, known: BaseFolder | None, hidden_size: int, tensors: set[str]) -> None:
    plain = check_lora(engine, "sft", known, hidden_size=hidden_size)
    if set(plain.tensors) != tensors - {HEAD}:
        raise Refused(f"{ENGINE}/{WEIGHTS} and {WEIGHTS} hold different matrices")
    head = read_header(engine / SCORE)
    if [(name, tensor.dtype, tensor.shape) for name, tensor in head.items()] != [
        ("score.weight", "F32", (1, hidden_size))
    ]:
        raise Refused(f"{ENGINE}/{SCORE} must hold score.weight, float32, 1x{hidden_size}, and nothing else")
    check_finite_weights(engine / SCORE, head)
