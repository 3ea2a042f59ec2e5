"""From the bundled expert to its adapters: supervised, preference-trained, and one that judges.

Trained by what `motet train` runs, on data as `motet models examples` writes it, published as anybody's adapters are.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from motet_alignment.store import Adapter, AdapterStore, fingerprint
from motet_alignment.train import DpoSettings, RewardSettings, SftSettings, TrainSettings, train
from motet_benchmarks.gym.examples import (
    Example,
    comparison,
    comparisons,
    demonstrations,
    problems,
    write,
)
from motet_benchmarks.gym.instance import Instance
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
    """Of training, by adapter."""
    pairs: int
    """Problems that the SFT adapter got wrong and DPO learnt from."""


def train_run(recipe: AdapterRecipe, seed: int, expert: Path, work: Path, say: Callable[[str], None]) -> Run:
    """Train the three adapters of one seed for the model in `expert`; all files stay in the folder `work`.

    Raises AlignmentError where a training can't be done.
    """
    store = work / "store"
    demonstrated, preferred, judged = (
        work / f"{kind}-{seed}.jsonl" for kind in ("demonstrations", "preferences", "judgements")
    )
    # Each seed and kind draws other problems: what DPO and the reward adapter learn from, SFT hasn't simply seen.
    write(demonstrated, demonstrations(seed=3 * seed, worked=recipe.sft.worked), count=recipe.sft.problems)
    write(judged, comparisons(seed=3 * seed + 2, worked=recipe.reward.worked), count=recipe.reward.problems)

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
    asked = problems(seed=3 * seed + 1, worked=recipe.dpo.worked)
    wrong = own_mistakes(expert, start.path, list(islice(asked, recipe.dpo.problems)))
    pairs = write(preferred, wrong, count=len(wrong))
    say(f"seed {seed}: {pairs:,} of {recipe.dpo.problems:,} problems answered wrongly by {start.reference}")
    trained(
        DpoSettings.model_validate(
            {**options(DPO, recipe.dpo, preferred), "from": start.reference, "beta": recipe.beta}
        )
    )
    trained(RewardSettings.model_validate(options(REWARD, recipe.reward, judged)))
    return Run(seed, adapters, minutes, pairs)


def own_mistakes(expert: Path, adapter: Path, asked: Sequence[Instance]) -> list[Example]:
    """The problems that the expert with `adapter` gets wrong, each with the right answer and its own."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from motet_benchmarks.toys.answers import answers

    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(expert), str(adapter)).eval()
    said = answers(asked, AutoTokenizer.from_pretrained(expert), model)
    # An empty answer, or one that begins or ends in blanks, is none that a data file may hold.
    return [
        comparison(problem, text)
        for problem, text in zip(asked, said, strict=True)
        if text and text == text.strip() and not problem.grade(text)
    ]


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
