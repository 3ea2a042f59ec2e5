"""Which answers are wrong, and how long each swap took."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from motet_benchmarks.adapters.answers import Answers
from motet_benchmarks.adapters.samples import (
    BASE,
    LISTING,
    PINNED,
    Reply,
    Swap,
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One request that failed or was answered wrongly."""

    moment: float
    """Seconds from the first request."""
    asked: str
    model: str
    failed: bool
    """It got no whole answer; otherwise it got a wrong one."""
    what: str


@dataclass(frozen=True, slots=True)
class Wait:
    """How long one swap took; None where nobody saw the new version."""

    number: int
    from_publishing: float | None
    """From the call of publish() to the first token."""
    from_published: float | None
    """From its return. Below 0 where a token came before publish() had returned."""


def first_tokens(replies: Sequence[Reply]) -> dict[str, float]:
    """When each version was first heard."""
    found: dict[str, float] = {}
    for reply in replies:
        if reply.version is not None and reply.first is not None:
            found[reply.version] = min(reply.first, found.get(reply.version, reply.first))
    return found


def faults(replies: Sequence[Reply], swaps: Sequence[Swap], answers: Answers) -> list[Fault]:
    """Every request that failed, was answered by a version that it may not be answered by, or with other words.

    Args:
        replies: all of them.
        swaps: all publications; a version's number is its place in `answers`.
        answers: what each version must say.
    """
    numbers = {swap.reference: swap.number for swap in swaps}
    heard = sorted(
        (moment, numbers[version]) for version, moment in first_tokens(replies).items() if version in numbers
    )
    moments = [moment for moment, _ in heard]
    newest = list(accumulate((number for _, number in heard), max))
    found = []
    begun = min((reply.sent for reply in replies), default=0.0)
    for reply in replies:
        before = bisect_right(moments, reply.sent)
        what = reply.problem or _wrong(reply, numbers, newest[before - 1] if before else 0, answers)
        if what is not None:
            found.append(Fault(reply.sent - begun, reply.asked, reply.model, reply.problem is not None, what))
    return found


def _wrong(reply: Reply, numbers: dict[str, int], oldest: int, answers: Answers) -> str | None:
    if reply.asked == LISTING:
        return None
    if reply.asked == BASE:
        number = None
        if reply.version is not None:
            return f"{reply.version} answered for the base"
    elif reply.version is None:
        return "the server doesn't say which version answered"
    elif reply.version not in numbers:
        return f"{reply.version} answered, which was never published"
    elif reply.asked == PINNED:
        number = numbers[reply.version]
        if reply.version != reply.model:
            return f"{reply.version} answered"
    else:
        number = numbers[reply.version]
        if number < oldest:
            return f"version {number} answered after version {oldest} had been heard"
    expected = answers[number][reply.prompt]
    if expected.agrees(reply.tokens):
        return None
    return f"says it is {_voice(number)}, whose answer this isn't; {_whose(reply, answers)}"


def _whose(reply: Reply, answers: Answers) -> str:
    same = [_voice(number) for number, each in answers.items() if each[reply.prompt].agrees(reply.tokens)]
    return f"it is that of {', '.join(same)}" if same else "it is nobody's"


def _voice(number: int | None) -> str:
    return "the base" if number is None else f"version {number}"


def waits(swaps: Sequence[Swap], replies: Sequence[Reply]) -> list[Wait]:
    """How long each swap took; the version that was there at the start is none."""
    heard = first_tokens(replies)
    found = []
    for swap in swaps:
        first = heard.get(swap.reference)
        if swap.number:
            found.append(
                Wait(
                    swap.number,
                    None if first is None else first - swap.begun,
                    None if first is None else first - swap.published,
                )
            )
    return found
