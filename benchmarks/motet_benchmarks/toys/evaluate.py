"""What the bundled pair can do: the expert, the amateur and the contrast of the two, by exact graders.

The contrast's two settings are chosen on the validation split; every figure is measured on the test split.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from motet_benchmarks import gym
from motet_benchmarks.statistics import Difference, Share, difference, share
from motet_benchmarks.trials import COUNT, TUNING, Trial, best, candidates
from motet_decoding.contrast import Contrast


@dataclass(frozen=True, slots=True)
class Line:
    """The three voices on one set of instances."""

    expert: Share
    amateur: Share
    contrast: Share
    against_greedy: Difference
    """Contrast against the expert alone."""


@dataclass(frozen=True, slots=True)
class Results:
    """Everything measured about a pair."""

    count: int
    """Test instances of each family."""
    seed: int
    strength: float
    plausibility: float
    trials: tuple[Trial, ...]
    """The validation runs that chose strength and plausibility."""
    overall: Line
    worked: Line
    """The same when the families that have worked steps are asked to show them."""
    families: dict[str, Line]


def evaluate(
    expert: Path,
    amateur: Path,
    *,
    count: int = COUNT,
    tuning: int = TUNING,
    seed: int = 0,
    say: Callable[[str], None] = lambda line: None,
) -> Results:
    """Measure the pair in two folders on `count` test problems of each family.

    `tuning` validation problems of each family choose the contrast. `say` is told what is being done.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from motet_benchmarks.toys.answers import answers

    tokenizer = AutoTokenizer.from_pretrained(expert)
    large = AutoModelForCausalLM.from_pretrained(expert).eval()
    small = AutoModelForCausalLM.from_pretrained(amateur).eval()

    def right(instances: Sequence[gym.Instance], contrast: Contrast | None) -> list[bool]:
        texts = answers(instances, tokenizer, large, amateur=small, contrast=contrast)
        return [instance.grade(text) for instance, text in zip(instances, texts, strict=True)]

    def alone(instances: Sequence[gym.Instance]) -> list[bool]:
        texts = answers(instances, tokenizer, small)
        return [instance.grade(text) for instance, text in zip(instances, texts, strict=True)]

    validation = gym.instances("validation", count=tuning, seed=seed)
    trials = []
    for tried in candidates():
        trials.append(Trial(tried.strength, tried.plausibility, share(right(validation, tried))))
        say(
            f"validation: strength {tried.strength}, plausibility {tried.plausibility}: {trials[-1].share.value:.1%}"
        )
    chosen = best(trials)

    test = gym.instances("test", count=count, seed=seed)
    outcomes = Outcomes([i.family for i in test], right(test, None), alone(test), right(test, chosen))
    say(f"test: expert {share(outcomes.expert).value:.1%}, contrast {share(outcomes.contrast).value:.1%}")
    steps = [instance.stepwise() for instance in test if instance.steps]
    worked = Outcomes([i.family for i in steps], right(steps, None), alone(steps), right(steps, chosen))
    say(f"worked: expert {share(worked.expert).value:.1%}, contrast {share(worked.contrast).value:.1%}")
    return Results(
        count=count,
        seed=seed,
        strength=chosen.strength,
        plausibility=chosen.plausibility,
        trials=tuple(trials),
        overall=outcomes.line(),
        worked=worked.line(),
        families={name: outcomes.only(name).line() for name in dict.fromkeys(outcomes.families)},
    )


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Which instances each voice answers right, and the family of each instance."""

    families: Sequence[str]
    expert: Sequence[bool]
    amateur: Sequence[bool]
    contrast: Sequence[bool]

    def only(self, family: str) -> Outcomes:
        """The outcomes of one family."""
        places = [place for place, name in enumerate(self.families) if name == family]
        expert, amateur, contrast = (
            [voice[place] for place in places] for voice in (self.expert, self.amateur, self.contrast)
        )
        return Outcomes([family] * len(places), expert, amateur, contrast)

    def line(self) -> Line:
        """The outcomes in figures."""
        return Line(
            expert=share(self.expert),
            amateur=share(self.amateur),
            contrast=share(self.contrast),
            against_greedy=difference(self.contrast, self.expert),
        )
