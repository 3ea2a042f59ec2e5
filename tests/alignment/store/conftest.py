"""A tiny base, its fingerprint, an empty store, and a way to publish into it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.alignment.store.folders import make_adapter, make_base

from motet_alignment.store import Adapter, AdapterStore, BaseFingerprint, fingerprint


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def base(base_folder: Path) -> BaseFingerprint:
    return fingerprint(base_folder)


@pytest.fixture
def store(tmp_path: Path) -> AdapterStore:
    return AdapterStore(tmp_path / "store")


@pytest.fixture
def publish(store: AdapterStore, base: BaseFingerprint, base_folder: Path, tmp_path: Path):
    """Publishes a folder, or one made from a seed, as an SFT adapter called "tutor" unless told otherwise."""

    def go(folder: Path | int, **told) -> Adapter:
        if isinstance(folder, int):
            made = tmp_path / f"seed-{folder}"
            folder = made if made.exists() else make_adapter(made, seed=folder)
        return store.publish(
            folder, **{"name": "tutor", "kind": "sft", "base": base, "base_folder": base_folder, **told}
        )

    return go
