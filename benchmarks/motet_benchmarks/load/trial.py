"""What the servers serve: every member of the mix once on each, before there is any load."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.load.arrivals import orders
from motet_benchmarks.load.asking import Asker
from motet_benchmarks.load.plan import Plan, Turn
from motet_benchmarks.load.prompts import Prompts
from motet_benchmarks.load.records import Member
from motet_benchmarks.strategies.streaming import StreamingEndpoint

#: vLLM's field for answers of exactly so many tokens, which others may refuse.
_EXACT = "ignore_eos"


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of it."""

    plan: Plan
    """What is measured: without exact lengths where a server refuses these."""
    mix: tuple[Member, ...]
    """Those that every server serves."""
    refused: Mapping[str, Mapping[str, str]]
    """The others: the servers that don't, and why."""
    inexact: str | None = None
    """The server that refused exact lengths, and how; None where none did."""


async def tried(
    plan: Plan,
    endpoints: Mapping[str, StreamingEndpoint],
    mix: Sequence[Member],
    prompts: Prompts,
    turn: Turn,
    step: Callable[[str], None],
) -> Tried:
    """Tries every member on every server, with the first prompts of `turn`; `step` is told which server it is.

    Raises BenchmarkError where a server serves no member, or doesn't answer.
    """
    refused: dict[str, dict[str, str]] = {}
    inexact: str | None = None
    for name, endpoint in endpoints.items():
        step(f"trying every member of the mix: {name}")
        asked = orders(turn, [1.0], prompts, plan.seed)
        for place, member in enumerate(mix):
            order = replace(next(asked), member=place)
            said = await Asker(name, endpoint, mix, plan).refusal(order)
            if said is not None and plan.exact and _EXACT in said:
                free = replace(plan, exact=False)
                without = await Asker(name, endpoint, mix, free).refusal(order)
                if without is None:
                    plan, inexact = free, f"{name}: {said}"
                said = without
            if said is not None:
                refused.setdefault(member.strategy.name, {})[name] = said
    left = tuple(member for member in mix if member.strategy.name not in refused)
    if not left:
        reasons = "; ".join(f"{name}: {next(iter(said.values()))}" for name, said in refused.items())
        raise BenchmarkError(f"--mix: nothing of it is served: {reasons}")
    return Tried(plan, left, refused, inexact)
