"""The bundled adapters as a store: what is put there, and what stands there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from motet_alignment.store import Adapter, AdapterStore, fingerprint
from motet_benchmarks.files import replace_folder
from motet_benchmarks.toys.adapters import BASE, NAMES, Run


@contextmanager
def renewed(folder: Path, keep: Sequence[str] = ()) -> Iterator[AdapterStore]:
    """A store beside `folder` that takes its place when whole; the adapters named in `keep` move over as they are."""
    beside = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    for name in keep:
        shutil.copytree(folder / name, beside / name)
    yield AdapterStore(beside)
    # What only writers need, and an installed package has none.
    for name in (".locks", ".staging"):
        shutil.rmtree(beside / name, ignore_errors=True)
    for path in beside.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    replace_folder(beside, folder)


def publish(run: Run, expert: Path, folder: Path) -> dict[str, str]:
    """Make `folder` a store that holds the run's adapters and nothing else; returns each name's version.

    Raises StoreError.
    """
    known: dict[str, str] = {}
    with renewed(folder) as store:
        for adapter in run.adapters.values():
            known[adapter.reference] = copy(adapter, store, expert, known).reference
    return versions(folder)


def copy(adapter: Adapter, store: AdapterStore, expert: Path, known: Mapping[str, str]) -> Adapter:
    """Publish an adapter of the expert in another store; `known`: what references it was trained from are there.

    Manifests name data files without the folder they lay in, and the base as everybody knows it. Raises StoreError.
    """
    told = adapter.manifest
    # With another name of the base in its files an adapter has another version.
    return store.publish(
        adapter.path,
        name=told.name,
        kind=adapter.kind,
        base=fingerprint(str(expert)).model_copy(update={"name": BASE}),
        base_folder=expert,
        parents=[known.get(parent, parent) for parent in told.parents],
        data=[file.model_copy(update={"path": Path(file.path).name}) for file in told.data],
        settings={**told.settings, "model": BASE, **_started(told.settings, known)},
        metrics=told.metrics,
    )


def _started(settings: Mapping[str, Any], known: Mapping[str, str]) -> dict[str, str]:
    """What the settings say of the adapter that training went on from, by its new name."""
    start = settings.get("from")
    return {"from": known.get(start, start)} if start else {}


def versions(folder: Path, names: Sequence[str] = NAMES) -> dict[str, str]:
    """The current version of each adapter in `folder`, every file of it read and checked.

    Raises StoreError naming an adapter that is missing or damaged.
    """
    store = AdapterStore(folder)
    found = {}
    for name in names:
        adapter = store.get(name)
        store.verify(adapter)
        found[name] = adapter.version
    return found
