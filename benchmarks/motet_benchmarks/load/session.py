"""Every server in every turn, in alternating order, on the same arrivals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.load.arrivals import arrivals, moments, orders
from motet_benchmarks.load.asking import Asker
from motet_benchmarks.load.loops import closed_loop, open_loop
from motet_benchmarks.load.plan import Plan, Turn
from motet_benchmarks.load.prompts import Prompts
from motet_benchmarks.load.records import Member, Step
from motet_benchmarks.load.samples import BROKEN, Sample
from motet_benchmarks.load.trial import Tried, tried
from motet_benchmarks.strategies.streaming import StreamingEndpoint

#: A server that has answered none of so many requests in whole turns is gone; fewer may have broken by chance.
GONE = 3


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of it so far."""

    tried: Tried
    samples: tuple[Sample, ...] = ()
    """Of whole steps."""
    errors: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    steps: int = 0
    """Whole ones, from the first."""


class Session:
    """Measures servers side by side.

    Attributes:
        unfinished: what was measured since the last whole step, also when the session has ended early.
    """

    def __init__(
        self,
        plan: Plan,
        endpoints: Mapping[str, StreamingEndpoint],
        mix: Sequence[Member],
        prompts: Prompts,
    ) -> None:
        """`endpoints` by their names in tables. Raises BenchmarkError for a step in which nothing would arrive."""
        self.unfinished: list[Sample] = []
        self._plan, self._mix, self._prompts = plan, tuple(mix), prompts
        self._endpoints = endpoints
        self._turns = plan.turns()
        self._lost: dict[str, int] = {}
        for place, load in enumerate(plan.steps):
            if load.rate is not None and not any(self._due(turn, place) for turn in self._turns):
                raise BenchmarkError(
                    f"at {load.rate:g} requests a second nothing arrives in {plan.step_seconds:g} s; measure longer"
                )

    async def measure(self, keep: Callable[[Measured], None], step: Callable[[str], None]) -> Measured:
        """First every member once on every server, then the turns.

        `keep` gets what there is after each whole step, `step` is told what begins.

        Raises BenchmarkError where a server serves no member or stops answering.
        """
        # Prompts that no turn has.
        first = replace(self._turns[0], number=len(self._turns))
        measured = Measured(await tried(self._plan, self._endpoints, self._mix, self._prompts, first, step))
        askers = [
            Asker(name, endpoint, measured.tried.mix, measured.tried.plan, self.unfinished)
            for name, endpoint in self._endpoints.items()
        ]
        for place, turn in enumerate(self._turns):
            # A B, then B A: what drifts with time falls on all of them.
            for asker in askers if place % 2 == 0 else reversed(askers):
                step(f"turn {place + 1} of {len(self._turns)}, {_told(turn)}: {asker.name}")
                before = len(self.unfinished)
                await self._turn(turn, asker)
                self._alive(asker, self.unfinished[before:])
            if self._whole(place) > self._whole(place - 1):
                measured = replace(
                    measured,
                    samples=(*measured.samples, *sorted(self.unfinished, key=_place)),
                    errors={asker.name: dict(asker.errors) for asker in askers if asker.errors},
                    steps=self._whole(place),
                )
                keep(measured)
                self.unfinished.clear()
        return measured

    async def _turn(self, turn: Turn, asker: Asker) -> None:
        shares = [member.share for member in asker.mix]
        if turn.concurrency is None:
            await open_loop(asker, turn, arrivals(turn, shares, self._prompts, self._plan.seed))
        else:
            await closed_loop(asker, turn, orders(turn, shares, self._prompts, self._plan.seed))

    def _alive(self, asker: Asker, samples: Sequence[Sample]) -> None:
        """Raises BenchmarkError where turn after turn no request got anything from the server."""
        broken = all(sample.outcome == BROKEN for sample in samples)
        self._lost[asker.name] = lost = self._lost.get(asker.name, 0) + len(samples) if broken else 0
        if lost >= GONE:
            raise BenchmarkError(f"none of {lost} requests was answered: {asker.errors[BROKEN]}")

    def _due(self, turn: Turn, step: int) -> bool:
        if step not in turn.windows:
            return False
        begin, end = turn.windows[step]
        return any(begin <= moment < end for moment in moments(turn, self._plan.seed))

    def _whole(self, place: int) -> int:
        """How many steps are over after this turn."""
        later = [step for turn in self._turns[place + 1 :] for step in turn.windows]
        return min(later, default=len(self._plan.steps))


def steps_of(plan: Plan, servers: int) -> int:
    """How often a session of so many servers tells what begins."""
    return servers * (1 + len(plan.turns()))


def _told(turn: Turn) -> str:
    if turn.concurrency is not None:
        return str(Step(concurrency=turn.concurrency))
    return f"{turn.begin:g}/s" if turn.begin == turn.end else f"{turn.begin:g}/s to {turn.end:g}/s"


def _place(sample: Sample) -> tuple[int, str, int]:
    return sample.turn, sample.server, sample.number
