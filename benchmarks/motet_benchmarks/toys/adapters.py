"""From the bundled expert to its adapters: supervised, preference-trained, and one that judges.

Trained by what `motet train` runs, on data as `motet models examples` writes it, published as anybody's adapters are.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
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
from motet_benchmarks.toys.files import replace_folder
from motet_benchmarks.toys.kept import once
from motet_benchmarks.toys.settings import AdapterRecipe, Adapting

SFT, DPO, REWARD = NAMES = ("motet-sft", "motet-dpo", "motet-reward")

#: What the adapters' manifests call their base.
BASE = "motet-toy"


@dataclass(frozen=True, slots=True)
class Course:
    """One training that was done."""

    reference: str
    """Of its adapter, in the seed's store."""
    minutes: float


@dataclass(frozen=True, slots=True)
class Run:
    """The adapters of one seed, as they stand in the store they were trained into."""

    seed: int
    adapters: dict[str, Adapter]
    minutes: dict[str, float]
    """Of training, by adapter."""

    @property
    def pairs(self) -> int:
        """Problems that the SFT adapter got wrong and DPO learnt from."""
        return sum(file.examples for file in self.adapters[DPO].manifest.data)


class Trainings:
    """The trainings of one seed, all in one folder; what is done there isn't done again."""

    def __init__(
        self, recipe: AdapterRecipe, seed: int, expert: Path, work: Path, say: Callable[[str], None]
    ) -> None:
        """`work` is the folder of this seed alone."""
        self._recipe, self._seed, self._expert, self._work, self._say = recipe, seed, expert, work, say
        self.store = AdapterStore(work / "store")
        self._basis = {"recipe": asdict(recipe), "seed": seed, "expert": fingerprint(str(expert)).weights}

    def run(self) -> Run:
        """SFT, DPO and the reward adapter. Raises AlignmentError where a training can't be done."""
        start = self.sft()
        courses = {SFT: start, DPO: self._dpo(start), REWARD: self.reward()}
        return Run(
            self._seed,
            {name: self.store.get(course.reference) for name, course in courses.items()},
            {name: course.minutes for name, course in courses.items()},
        )

    # Each seed and kind draws other problems: what DPO and the reward adapter learn from, SFT hasn't simply seen.

    def sft(self) -> Course:
        """Imitates the right answers."""
        how = self._recipe.sft

        def settings() -> TrainSettings:
            data = self._work / f"demonstrations-{self._seed}.jsonl"
            write(data, demonstrations(seed=3 * self._seed, worked=how.worked), count=how.problems)
            return SftSettings.model_validate(self._options(SFT, how, data))

        return self._trained(SFT, settings)

    def reward(self) -> Course:
        """Puts right answers above mistaken ones."""
        how = self._recipe.reward

        def settings() -> TrainSettings:
            data = self._work / f"judgements-{self._seed}.jsonl"
            write(data, comparisons(seed=3 * self._seed + 2, worked=how.worked), count=how.problems)
            return RewardSettings.model_validate(self._options(REWARD, how, data))

        return self._trained(REWARD, settings)

    def _dpo(self, start: Course) -> Course:
        how = self._recipe.dpo

        def settings() -> TrainSettings:
            data = self._work / f"preferences-{self._seed}.jsonl"
            asked = problems(seed=3 * self._seed + 1, worked=how.worked)
            adapter = self.store.get(start.reference).path
            wrong = own_mistakes(self._expert, adapter, list(islice(asked, how.problems)))
            pairs = write(data, wrong, count=len(wrong))
            self._say(
                f"seed {self._seed}: {pairs:,} of {how.problems:,} problems answered wrongly by {start.reference}"
            )
            return DpoSettings.model_validate(
                {**self._options(DPO, how, data), "from": start.reference, "beta": self._recipe.beta}
            )

        return self._trained(DPO, settings)

    def _options(self, name: str, adapting: Adapting, data: Path) -> dict[str, object]:
        return {
            "model": str(self._expert),
            "name": name,
            "data": (data,),
            "rank": adapting.rank,
            "learning_rate": adapting.rate,
            "batch_tokens": adapting.batch_tokens,
            "epochs": 1.0,
            "held_out": 0.0,
            "seed": self._seed,
            "store": self.store.root,
            "folder": self._work / f"{name}-{self._seed}",
            "resume": False,
        }

    def _trained(self, name: str, settings: Callable[[], TrainSettings]) -> Course:
        def make() -> Course:
            asked = settings()
            began = time.monotonic()
            adapter = train(asked).adapter
            if adapter is None:
                raise RuntimeError(f"{name}: the training published nothing")
            course = Course(adapter.reference, (time.monotonic() - began) / 60)
            self._say(f"seed {self._seed}: {course.reference} in {course.minutes:.1f} min")
            return course

        return once(self._work / f"{name}.json", Course, self._basis, make)


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
