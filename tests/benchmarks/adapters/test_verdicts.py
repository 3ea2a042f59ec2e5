"""Verdicts on replies that are made up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from motet_benchmarks.adapters.answers import Answer, told_apart
from motet_benchmarks.adapters.samples import BASE, CURRENT, LISTING, PINNED, PROBE, Reply, Swap
from motet_benchmarks.adapters.verdicts import faults, waits

SWAPS = (Swap(0, "a@0", 0.0, 0.1), Swap(1, "a@1", 10.0, 10.2), Swap(2, "a@2", 20.0, 20.2))
ANSWERS = {
    number: [Answer((7, place, 50 + (number if number is not None else 9)), 3) for place in range(2)]
    for number in (None, 0, 1, 2)
}


def reply(asked: str, version: int | None, sent: float, *, model: str = "a", first: float = 0.5) -> Reply:
    return Reply(
        asked,
        model,
        1,
        sent,
        sent + first,
        sent + 1,
        None if version is None else f"a@{version}",
        ANSWERS[version][1].tokens,
    )


RIGHT = (
    reply(CURRENT, 0, 1.0),
    reply(BASE, None, 2.0, model="base"),
    reply(PROBE, 1, 10.4),
    # Sent before the new version was heard, at 10.9: either may answer.
    reply(CURRENT, 0, 10.8),
    reply(CURRENT, 1, 11.0),
    reply(PINNED, 0, 12.0, model="a@0"),
    reply(CURRENT, 2, 20.5, first=0.1),
)


def test_right_answers_are_no_faults():
    assert faults(RIGHT, SWAPS, ANSWERS) == []


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (reply(CURRENT, 0, 11.0), "version 0 answered after version 1 had been heard"),
        (reply(PROBE, 1, 20.7), "version 1 answered after version 2 had been heard"),
        (reply(PINNED, 1, 12.0, model="a@0"), "a@1 answered"),
        (reply(BASE, 1, 12.0, model="base"), "a@1 answered for the base"),
        (replace(reply(CURRENT, 1, 12.0), version=None), "the server doesn't say which version answered"),
        (replace(reply(CURRENT, 1, 12.0), version="a@5"), "a@5 answered, which was never published"),
        (
            replace(reply(CURRENT, 1, 12.0), tokens=ANSWERS[0][1].tokens),
            "says it is version 1, whose answer this isn't; it is that of version 0",
        ),
        (
            replace(reply(BASE, None, 12.0), tokens=ANSWERS[2][1].tokens),
            "says it is the base, whose answer this isn't; it is that of version 2",
        ),
        (
            replace(reply(CURRENT, 1, 12.0), tokens=(7, 1, 99)),
            "says it is version 1, whose answer this isn't; it is nobody's",
        ),
        # The right answer to the other prompt.
        (
            replace(reply(CURRENT, 1, 12.0), tokens=ANSWERS[1][0].tokens),
            "says it is version 1, whose answer this isn't; it is nobody's",
        ),
    ],
)
def test_a_wrong_answer_is_found_and_named(wrong: Reply, what: str):
    found = faults((*RIGHT, wrong), SWAPS, ANSWERS)
    assert [(fault.what, fault.failed, fault.asked) for fault in found] == [(what, False, wrong.asked)]


def test_failures_are_told_as_they_are():
    failed = replace(reply(CURRENT, None, 3.0), problem="status 503: busy", tokens=())
    listing = Reply(LISTING, "", 0, 4.0, None, 4.1, None, (), "status 500: ill")
    found = faults((*RIGHT, failed, listing), SWAPS, ANSWERS)
    assert [(fault.what, fault.failed) for fault in found] == [
        ("status 503: busy", True),
        ("status 500: ill", True),
    ]


def test_how_long_swaps_took():
    first, second = waits(SWAPS, [*RIGHT[:-1]])
    assert (first.number, second.number) == (1, 2)
    assert first.from_published == pytest.approx(0.7)
    assert first.from_publishing == pytest.approx(0.9)
    assert second.from_published is None
    assert waits(SWAPS, RIGHT)[1].from_published == pytest.approx(0.4)


def test_rounding_decides_nothing():
    sure, doubtful = Answer((1, 2, 3, 4), 4), Answer((1, 2, 3, 4), 2)
    assert not sure.agrees((1, 2, 3, 5))
    assert doubtful.agrees((1, 2, 9, 9))
    assert not doubtful.agrees((1, 3, 3, 4))
    # Fewer were asked for.
    assert sure.agrees((1, 2))
    assert not sure.agrees((1, 2, 3, 4, 5))


def test_what_can_be_told_apart():
    one, same, other = Answer((1, 2, 3), 3), Answer((1, 2, 4), 2), Answer((1, 5, 3), 3)
    assert told_apart({None: [one, one], 0: [same, other]}) == 0.5
    assert told_apart({None: [one], 0: [other], 1: [same]}) == pytest.approx(2 / 3)
