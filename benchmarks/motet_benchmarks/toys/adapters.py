"""From the bundled expert to its adapters: supervised, preference-trained, and one that judges.

Trained by what `motet train` runs, on data as `motet models examples` writes it, published as anybody's adapters are.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from motet_alignment.store import Adapter, AdapterStore, fingerprint
from motet_alignment.train import DpoSettings, RewardSettings, SftSettings, TrainSettings, train
from motet_benchmarks.gym.examples import (
    comparisons,
    demonstrations,
    problems,
    write,
)
from motet_benchmarks.toys.kept import once
from motet_benchmarks.toys.own import own_mistakes, own_pairs
from motet_benchmarks.toys.settings import AdapterRecipe, Adapting

SFT, DPO, REWARD = NAMES = ("motet-sft", "motet-dpo", "motet-reward")

#: What the adapters' manifests call their base.
BASE = "motet-toy"

#: Problems that the reward adapter's own pairs come of are drawn from here on, where no other training draws.
_OWN_FROM = 20_000


@dataclass(frozen=True, slots=True)
class Course:
    """One training that was done."""

    reference: str
    """Of its adapter, in the seed's store."""
    minutes: float


@dataclass(frozen=True, slots=True)
class Pairs:
    """A file of comparisons that was written."""

    file: str
    """Its name, in the seed's folder."""
    count: int


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
        """SFT, DPO, and the reward adapter where the recipe wants one of this seed.

        Raises AlignmentError where a training can't be done.
        """
        start = self.sft()
        courses = {SFT: start, DPO: self._dpo(start)}
        if self._seed in self._recipe.judged:
            courses[REWARD] = self.reward(start)
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

    def reward(self, start: Course) -> Course:
        """Puts right answers above mistaken ones: first the gym's mistakes, then those of the SFT adapter as well."""

        def first() -> TrainSettings:
            return RewardSettings.model_validate(
                self._options(REWARD, self._recipe.reward, self._judgements(), folder="first")
            )

        def further() -> TrainSettings:
            data = self._judgements(further=True), self._own(start)
            options = self._options(REWARD, self._recipe.judge, *data)
            return RewardSettings.model_validate({**options, "from": known.reference})

        known = self._trained(REWARD, first, kept="first")
        judge = self._trained(REWARD, further)
        return Course(judge.reference, known.minutes + judge.minutes)

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

    def _judgements(self, *, further: bool = False) -> Path:
        """A file of the gym's pairs, for the one course or the other."""
        how = self._recipe.judge if further else self._recipe.reward
        seed = _OWN_FROM + 1000 + self._seed if further else 3 * self._seed + 2
        data = self._work / f"{'more-' if further else ''}judgements-{self._seed}.jsonl"
        write(data, comparisons(seed=seed, worked=how.worked), count=how.problems)
        return data

    def _own(self, start: Course) -> Path:
        """A file of pairs of the SFT adapter's own answers."""
        how, data = self._recipe.own, self._work / f"answers-{self._seed}.jsonl"

        def make() -> Pairs:
            asked = list(islice(problems(seed=_OWN_FROM + self._seed, worked=how.worked), how.problems))
            found = own_pairs(self._expert, self.store.get(start.reference).path, asked, how, self._seed)
            made = Pairs(data.name, write(data, found, count=len(found)))
            self._say(
                f"seed {self._seed}: {made.count:,} pairs of answers of {start.reference} to {how.problems:,} problems"
            )
            return made

        return self._work / once(self._work / "answers.json", Pairs, self._basis, make).file

    def _options(
        self, name: str, adapting: Adapting, *data: Path, folder: str | None = None
    ) -> dict[str, object]:
        return {
            "model": str(self._expert),
            "name": name,
            "data": data,
            "rank": adapting.rank,
            "learning_rate": adapting.rate,
            "batch_tokens": adapting.batch_tokens,
            "epochs": 1.0,
            "held_out": 0.0,
            "seed": self._seed,
            "store": self.store.root,
            "folder": self._work / f"{folder or name}-{self._seed}",
            "resume": False,
        }

    def _trained(self, name: str, settings: Callable[[], TrainSettings], kept: str | None = None) -> Course:
        def make() -> Course:
            asked = settings()
            began = time.monotonic()
            adapter = train(asked).adapter
            if adapter is None:
                raise RuntimeError(f"{name}: the training published nothing")
            course = Course(adapter.reference, (time.monotonic() - began) / 60)
            self._say(f"seed {self._seed}: {course.reference} in {course.minutes:.1f} min")
            return course

        return once(self._work / f"{kept or name}.json", Course, self._basis, make)
