"""What the measurement says: ratios of arms that were measured side by side, each with its interval and its aim."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from motet_benchmarks.overhead.samples import (
    ALONE,
    AMATEUR_FORWARD,
    ARRIVING,
    EXPERT_ALONE,
    EXPERT_FORWARD,
    FORWARD,
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
COST = "the models' own cost: expert / (expert + amateur), in time of forward passes"
CONTRAST_OF_COST = "contrast / plain on the pair, as a part of the models' own cost"
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
    for name, aim, workload, figures in (
        (PLAIN, PLAIN_AIM, ALONE, _plain),
        (CONTRAST, None, ALONE, _contrast),
        (COST, None, FORWARD, _cost),
        (CONTRAST_OF_COST, COST_AIM, FORWARD, _contrast_of_cost),
        (LOOP_TOGETHER, TOGETHER_AIM, TOGETHER, _together),
        (LOOP_ARRIVING, ARRIVING_AIM, ARRIVING, _arriving),
        (LOOP_WAIT, None, ARRIVING, _wait),
    ):
        for batch in dict.fromkeys(sample.batch for sample in samples if sample.workload == workload):
            found.append(Line(name, batch, figures(_Arms(samples, batch)), rounds, aim))
    return found


def speeds(samples: Sequence[Sample]) -> list[tuple[str, str, int, Interval]]:
    """Workload, arm, batch and tokens per second: this machine's own figures, for scale only."""
    keys = dict.fromkeys((sample.workload, sample.arm, sample.batch) for sample in samples)
    ordered = sorted(keys, key=lambda key: (key[0] != ALONE, key[0] == ARRIVING, key[2], key[1]))
    return [(*key, median(_Arms(samples, key[2])(key[0], key[1]))) for key in ordered]


class _Arms:
    """The figures of one arm at one batch, round by round."""

    def __init__(self, samples: Sequence[Sample], batch: int) -> None:
        self._samples = sorted(
            (sample for sample in samples if sample.batch == batch), key=lambda sample: sample.round
        )

    def __call__(
        self, workload: str, arm: str, figure: Callable[[Sample], float] = lambda sample: sample.speed
    ) -> list[float]:
        return [
            figure(sample) for sample in self._samples if (sample.workload, sample.arm) == (workload, arm)
        ]


def _plain(arms: _Arms) -> Interval:
    return ratio(arms(ALONE, PAIR_PLAIN), arms(ALONE, EXPERT_ALONE))


def _contrast(arms: _Arms) -> Interval:
    return ratio(arms(ALONE, PAIR_CONTRAST), arms(ALONE, PAIR_PLAIN))


def _costs(arms: _Arms) -> list[float]:
    """Round by round: the expert's part of the time that both models' forward passes take."""
    experts, amateurs = (
        arms(FORWARD, arm, lambda sample: sample.seconds) for arm in (EXPERT_FORWARD, AMATEUR_FORWARD)
    )
    return [expert / (expert + amateur) for expert, amateur in zip(experts, amateurs, strict=True)]


def _cost(arms: _Arms) -> Interval:
    return median(_costs(arms))


def _contrast_of_cost(arms: _Arms) -> Interval:
    pairs = zip(arms(ALONE, PAIR_CONTRAST), arms(ALONE, PAIR_PLAIN), strict=True)
    return ratio([contrast / plain for contrast, plain in pairs], _costs(arms))


def _together(arms: _Arms) -> Interval:
    return ratio(arms(TOGETHER, PAIR_CONTRAST), arms(TOGETHER, LOOP))


def _arriving(arms: _Arms) -> Interval:
    return ratio(arms(ARRIVING, PAIR_CONTRAST), arms(ARRIVING, LOOP))


def _wait(arms: _Arms) -> Interval:
    server, loop = (arms(ARRIVING, arm, lambda sample: sample.wait) for arm in (PAIR_CONTRAST, LOOP))
    return ratio(loop, server)
