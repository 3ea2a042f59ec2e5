"""What the replies say: accuracy, plain and contrasted, and the difference on the same problems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from motet_benchmarks import gym
from motet_benchmarks.contrast.ask import Reply
from motet_benchmarks.statistics import Difference, Share, difference, share


@dataclass(frozen=True, slots=True)
class Outcome:
    """One problem, answered both ways."""

    family: str
    key: str
    answer: str
    plain: str
    contrast: str
    plain_right: bool
    contrast_right: bool


@dataclass(frozen=True, slots=True)
class Line:
    """Both ways on one set of problems."""

    name: str
    plain: Share
    contrast: Share
    difference: Difference
    """Contrast less plain."""

    @property
    def verdict(self) -> str:
        """What the interval of the difference allows to say."""
        if self.difference.low > 0:
            return "better"
        return "worse" if self.difference.high < 0 else "no clear difference"


def paired(
    instances: Sequence[gym.Instance], plain: Sequence[Reply], contrast: Sequence[Reply]
) -> list[Outcome]:
    """The two replies to each problem, side by side. Raises ValueError where one is missing."""
    return [
        Outcome(
            family=instance.family,
            key=instance.key,
            answer=instance.answer,
            plain=one.text,
            contrast=other.text,
            plain_right=one.right,
            contrast_right=other.right,
        )
        for instance, one, other in zip(instances, plain, contrast, strict=True)
    ]


def line(name: str, outcomes: Sequence[Outcome]) -> Line:
    """The figures of `outcomes`. Raises ValueError without any."""
    plain = [outcome.plain_right for outcome in outcomes]
    contrast = [outcome.contrast_right for outcome in outcomes]
    return Line(name, share(plain), share(contrast), difference(contrast, plain))


def lines(outcomes: Sequence[Outcome]) -> list[Line]:
    """All families together, then one by one. Raises ValueError without outcomes."""
    names = dict.fromkeys(outcome.family for outcome in outcomes)
    families = [line(name, [o for o in outcomes if o.family == name]) for name in names]
    return [line("all families", outcomes), *families]
