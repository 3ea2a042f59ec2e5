"""What the answers say: right ones beside the plain ones of the same model, problem by problem."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from motet_benchmarks.statistics import Difference, Share, difference, share
from motet_benchmarks.voices.asking import Answer, Answered, Asked


@dataclass(frozen=True, slots=True)
class Line:
    """One setting on one set of problems."""

    series: str
    setting: str
    family: str | None
    """None for all of the series' families together."""
    right: Share
    plain: Share
    difference: Difference
    """This less plain."""
    over_fixed: Difference | None
    """This less the setting with the fixed strength, where the series compares with one."""
    changed: int
    """Answers whose text isn't the plain one's."""

    @property
    def verdict(self) -> str:
        """What the interval of the difference allows to say."""
        return verdict(self.difference)


@dataclass(frozen=True, slots=True)
class Tally:
    """One setting in one family, counted."""

    series: str
    setting: str
    family: str
    right: Share
    plain: Share
    gains: int
    """Problems that this answers right and plain doesn't."""
    losses: int


def verdict(found: Difference) -> str:
    """Better or worse where the interval leaves 0 out."""
    if found.low > 0:
        return "better"
    return "worse" if found.high < 0 else "no clear difference"


def line(asked: Asked, family: str | None = None) -> Line:
    """The figures of a setting, in one family or in all. Raises ValueError for a family without problems."""
    places = [
        place for place, problem in enumerate(asked.problems) if family is None or problem.family == family
    ]

    def of(answers: Sequence[Answer]) -> list[bool]:
        return [answers[place].right for place in places]

    right, plain = of(asked.answers), of(asked.plain)
    return Line(
        series=asked.series,
        setting=asked.setting,
        family=family,
        right=share(right),
        plain=share(plain),
        difference=difference(right, plain),
        over_fixed=None if asked.fixed is None else difference(right, of(asked.fixed)),
        changed=sum(asked.answers[place].text != asked.plain[place].text for place in places),
    )


def lines(asked: Sequence[Asked]) -> list[Line]:
    """Every setting over its families together."""
    return [line(each) for each in asked]


def families(asked: Sequence[Asked]) -> list[Line]:
    """Every setting in every one of its families."""
    return [line(each, family) for each in asked for family in _families(each)]


def tallies(asked: Sequence[Asked]) -> list[Tally]:
    """What each family's problems come to, counted."""
    found = []
    for each in asked:
        for family in _families(each):
            pairs = [
                (answer.right, plain.right)
                for problem, answer, plain in zip(each.problems, each.answers, each.plain, strict=True)
                if problem.family == family
            ]
            found.append(
                Tally(
                    each.series,
                    each.setting,
                    family,
                    share([right for right, _ in pairs]),
                    share([plain for _, plain in pairs]),
                    sum(right > plain for right, plain in pairs),
                    sum(right < plain for right, plain in pairs),
                )
            )
    return found


def recommended(answered: Answered) -> list[Asked]:
    """Of every series that has one, the recommended setting's answers to the test problems."""
    chosen = {choice.series: choice.setting for choice in answered.choices}
    return [each for each in answered.direct if chosen.get(each.series) == each.setting]


def _families(asked: Asked) -> list[str]:
    return list(dict.fromkeys(problem.family for problem in asked.problems))
