"""What the measurement says: ratios of arms that were measured side by side, each with its interval and its aim."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from motet_benchmarks.serving.rounds import (
    ALONE,
    AMATEUR_ALONE,
    ARRIVING,
    EXPERT_ALONE,
    LOOP,
    PAIR_CONTRAST,
    PAIR_PLAIN,
    TOGETHER,
    Sample,
)
from motet_benchmarks.statistics import Interval, median, ratio

#: The aims: what a second model may cost those who don't use it, and what contrast may cost those who do.
PLAIN_AIM = 0.97
COST_AIM = 0.9
TOGETHER_AIM = 1.3
ARRIVING_AIM = 2.0

#: From fewer, the bootstrap's interval is too narrow to judge by.
FEWEST_ROUNDS = 6

PLAIN = "plain on the pair / plain on the expert alone"
CONTRAST = "contrast / plain on the pair"
COST = "the models' cost: expert / (expert + amateur), in time, each alone"
CONTRAST_OF_COST = "contrast / plain, as a part of the models' cost"
LOOP_TOGETHER = "contrast on the server / transformers loop, together"
LOOP_ARRIVING = "contrast on the server / transformers loop, arriving"
LOOP_WAIT = "wait in the transformers loop / wait on the server, arriving"


@dataclass(frozen=True, slots=True)
class Line:
    """One ratio at one batch."""

    name: str
    batch: int
    ratio: Interval
    rounds: int
    """How often it was measured."""
    aim: float | None = None
    """The least that is hoped for; None for what stands there to be compared with."""

    @property
    def verdict(self) -> str:
        """Whether the aim is met, and whether the interval leaves a doubt."""
        if self.aim is None:
            return ""
        met = "met" if self.ratio.value >= self.aim else "missed"
        if self.rounds < FEWEST_ROUNDS:
            return f"{met}, in too few rounds to be sure"
        sure = self.ratio.low >= self.aim or self.ratio.high < self.aim
        return met if sure else f"{met}, within noise"


def lines(samples: Sequence[Sample]) -> list[Line]:
    """All ratios that `samples` allow, of speeds in tokens per second unless their name says otherwise."""
    found = []
    rounds = len({sample.round for sample in samples})
    batches = list(dict.fromkeys(sample.batch for sample in samples if sample.workload == ALONE))
    for name, aim, figures in (
        (PLAIN, PLAIN_AIM, _plain),
        (CONTRAST, None, _contrast),
        (COST, None, _cost),
        (CONTRAST_OF_COST, COST_AIM, _contrast_of_cost),
    ):
        for batch in batches:
            found.append(Line(name, batch, figures(_Arms(samples, ALONE, batch)), rounds, aim))
    for name, aim, workload, measure in (
        (LOOP_TOGETHER, TOGETHER_AIM, TOGETHER, _speed),
        (LOOP_ARRIVING, ARRIVING_AIM, ARRIVING, _speed),
        (LOOP_WAIT, None, ARRIVING, _briefness),
    ):
        for batch in dict.fromkeys(sample.batch for sample in samples if sample.workload == workload):
            arms = _Arms(samples, workload, batch)
            figure = ratio(arms(PAIR_CONTRAST, measure), arms(LOOP, measure))
            found.append(Line(name, batch, figure, rounds, aim))
    return found


def speeds(samples: Sequence[Sample]) -> list[tuple[str, str, int, Interval]]:
    """Workload, arm, batch and tokens per second: this machine's own figures, for scale only."""
    keys = dict.fromkeys((sample.workload, sample.arm, sample.batch) for sample in samples)
    ordered = sorted(keys, key=lambda key: (key[0] != ALONE, key[0] == ARRIVING, key[2], key[1]))
    return [(*key, median(_Arms(samples, key[0], key[2])(key[1], _speed))) for key in ordered]


class _Arms:
    """The figures of one arm, round by round."""

    def __init__(self, samples: Sequence[Sample], workload: str, batch: int) -> None:
        self._samples = sorted(
            (sample for sample in samples if (sample.workload, sample.batch) == (workload, batch)),
            key=lambda sample: sample.round,
        )

    def __call__(self, arm: str, figure: Callable[[Sample], float]) -> list[float]:
        return [figure(sample) for sample in self._samples if sample.arm == arm]


def _speed(sample: Sample) -> float:
    return sample.speed


def _briefness(sample: Sample) -> float:
    return 1 / sample.wait


def _plain(arms: _Arms) -> Interval:
    return ratio(arms(PAIR_PLAIN, _speed), arms(EXPERT_ALONE, _speed))


def _contrast(arms: _Arms) -> Interval:
    return ratio(arms(PAIR_CONTRAST, _speed), arms(PAIR_PLAIN, _speed))


def _costs(arms: _Arms) -> list[float]:
    """Round by round: what plain decoding would take of the time of both models one after the other."""
    # All arms of a batch generate the same tokens, so times and inverse speeds stand in the same proportion.
    experts, amateurs = arms(EXPERT_ALONE, _speed), arms(AMATEUR_ALONE, _speed)
    return [amateur / (expert + amateur) for expert, amateur in zip(experts, amateurs, strict=True)]


def _cost(arms: _Arms) -> Interval:
    return median(_costs(arms))


def _contrast_of_cost(arms: _Arms) -> Interval:
    pairs = zip(arms(PAIR_CONTRAST, _speed), arms(PAIR_PLAIN, _speed), strict=True)
    return ratio([contrast / plain for contrast, plain in pairs], _costs(arms))
