"""From the bundled expert to its adapters: supervised, preference-trained, and one that judges.

Trained by what `motet train` runs, on data as `motet models examples` writes it, published as anybody's adapters are.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motet_alignment.store import Adapter, AdapterStore, fingerprint
from motet_alignment.train import DpoSettings, RewardSettings, SftSettings, TrainSettings, train
from motet_benchmarks.gym.examples import comparisons, demonstrations, write
from motet_benchmarks.toys.settings import AdapterRecipe, Adapting

SFT, DPO, REWARD = NAMES = ("motet-sft", "motet-dpo", "motet-reward")

#: What the adapters' manifests call their base.
BASE = "motet-toy"


@dataclass(frozen=True, slots=True)
class Run:
    """The adapters of one seed, as they stand in the store they were trained into."""

    seed: int
    adapters: dict[str, Adapter]
    minutes: dict[str, float]


def train_run(recipe: AdapterRecipe, seed: int, expert: Path, work: Path, say: Callable[[str], None]) -> Run:
    """Train the three adapters of one seed for the model in `expert`; all files stay in the folder `work`.

    Raises AlignmentError where a training can't be done.
    """
    store = work / "store"
    demonstrated = work / f"demonstrations-{seed}.jsonl"
    preferred = work / f"preferences-{seed}.jsonl"
    judged = work / f"judgements-{seed}.jsonl"
    # Other problems for each seed and kind: what DPO and the reward adapter learn from, SFT hasn't simply seen.
    write(demonstrated, demonstrations(seed=3 * seed, worked=recipe.sft.worked), count=recipe.sft.examples)
    write(preferred, comparisons(seed=3 * seed + 1, worked=recipe.dpo.worked), count=recipe.dpo.examples)
    write(judged, comparisons(seed=3 * seed + 2, worked=recipe.reward.worked), count=recipe.reward.examples)

    def options(name: str, adapting: Adapting, data: Path) -> dict[str, object]:
        return {
            "model": str(expert),
            "name": name,
            "data": (data,),
            "rank": adapting.rank,
            "learning_rate": adapting.rate,
            "batch_tokens": adapting.batch_tokens,
            "epochs": 1.0,
            "held_out": 0.0,
            "seed": seed,
            "store": store,
            "folder": work / f"{name}-{seed}",
            "resume": False,
        }

    adapters: dict[str, Adapter] = {}
    minutes: dict[str, float] = {}

    def trained(settings: TrainSettings) -> Adapter:
        began = time.monotonic()
        adapter = train(settings).adapter
        if adapter is None:
            raise RuntimeError(f"{settings.name}: the training published nothing")
        adapters[settings.name], minutes[settings.name] = adapter, (time.monotonic() - began) / 60
        say(f"seed {seed}: {adapter.reference} in {minutes[settings.name]:.1f} min")
        return adapter

    start = trained(SftSettings.model_validate(options(SFT, recipe.sft, demonstrated)))
    trained(
        DpoSettings.model_validate(
            {**options(DPO, recipe.dpo, preferred), "from": start.reference, "beta": recipe.beta}
        )
    )
    trained(RewardSettings.model_validate(options(REWARD, recipe.reward, judged)))
    return Run(seed, adapters, minutes)


def publish(run: Run, expert: Path, folder: Path) -> dict[str, str]:
    """Make `folder` a store that holds the run's adapters and nothing else; returns each name's version.

    The store is put together beside `folder` and takes its place when whole. Manifests name data files without the
    folder they lay in, and the base as everybody knows it. Raises StoreError.
    """
    beside = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    store = AdapterStore(beside)
    base = fingerprint(str(expert)).model_copy(update={"name": BASE})
    # With another name of the base in its files an adapter has another version.
    known: dict[str, str] = {}
    for name, adapter in run.adapters.items():
        told = adapter.manifest
        known[adapter.reference] = store.publish(
            adapter.path,
            name=name,
            kind=adapter.kind,
            base=base,
            base_folder=expert,
            parents=[known[parent] for parent in told.parents],
            data=[file.model_copy(update={"path": Path(file.path).name}) for file in told.data],
            settings={**told.settings, "model": BASE, **_started(told.settings, known)},
            metrics=told.metrics,
        ).reference
    # What only writers need, and an installed package has none.
    for name in (".locks", ".staging"):
        shutil.rmtree(beside / name, ignore_errors=True)
    for path in beside.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    before = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(before, ignore_errors=True)
    if folder.exists():
        os.replace(folder, before)
    os.replace(beside, folder)
    shutil.rmtree(before, ignore_errors=True)
    return versions(folder)


def _started(settings: Mapping[str, Any], known: Mapping[str, str]) -> dict[str, str]:
    """What the settings say of the adapter that training went on from, by its new name."""
    return {"from": known[settings["from"]]} if settings.get("from") else {}


def versions(folder: Path) -> dict[str, str]:
    """The current version of each adapter in `folder`, every file of it read and checked.

    Raises StoreError naming an adapter that is missing or damaged.
    """
    store = AdapterStore(folder)
    found = {}
    for name in NAMES:
        adapter = store.get(name)
        store.verify(adapter)
        found[name] = adapter.version
    return found
