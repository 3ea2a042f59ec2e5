"""Every server in every turn, in alternating order, on the same arrivals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.load.arrivals import arrivals, moments, orders
from motet_benchmarks.load.asking import BROKEN, Asker
from motet_benchmarks.load.plan import Plan, Turn
from motet_benchmarks.load.prompts import Prompts
from motet_benchmarks.load.records import Member, Sample, Step
from motet_benchmarks.strategies.streaming import StreamingEndpoint


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of it so far."""

    mix: tuple[Member, ...]
    """Those that every server serves."""
    refused: Mapping[str, Mapping[str, str]]
    samples: tuple[Sample, ...] = ()
    errors: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    steps: int = 0
    """Whole ones, from the first."""


class Session:
    """Measures servers side by side."""

    def __init__(
        self,
        plan: Plan,
        endpoints: Mapping[str, StreamingEndpoint],
        mix: Sequence[Member],
        prompts: Prompts,
        step: Callable[[str], None] = lambda said: None,
    ) -> None:
        """`endpoints` by their names in tables, `step` is told what begins.

        Raises BenchmarkError for a step in which nothing would arrive.
        """
        self._plan, self._mix, self._prompts, self._step = plan, tuple(mix), prompts, step
        self._endpoints = endpoints
        self._turns = plan.turns()
        for place, load in enumerate(plan.steps):
            if load.rate is not None and not any(self._due(turn, place) for turn in self._turns):
                raise BenchmarkError(
                    f"at {load.rate:g} requests a second nothing arrives in {plan.step_seconds:g} s; measure longer"
                )

    async def measure(self, keep: Callable[[Measured], None]) -> Measured:
        """First every member once on every server, then the turns; `keep` gets what there is after each whole step.

        Raises BenchmarkError where a server serves no member or stops answering.
        """
        measured = await self._tried()
        askers = [
            Asker(name, endpoint, measured.mix, self._plan) for name, endpoint in self._endpoints.items()
        ]
        for place, turn in enumerate(self._turns):
            found: list[Sample] = []
            # A B, then B A: what drifts with time falls on all of them.
            for asker in askers if place % 2 == 0 else reversed(askers):
                self._step(f"turn {place + 1} of {len(self._turns)}, {self._told(turn)}: {asker.name}")
                samples = await self._turn(turn, asker, measured.mix)
                _alive(asker, samples)
                found += samples
            measured = replace(
                measured,
                samples=(*measured.samples, *found),
                errors={asker.name: dict(asker.errors) for asker in askers if asker.errors},
                steps=self._whole(place),
            )
            if self._whole(place) > self._whole(place - 1):
                keep(measured)
        return measured

    async def _tried(self) -> Measured:
        """The mix without the members that a server refuses."""
        refused: dict[str, dict[str, str]] = {}
        tries = replace(self._turns[0], number=len(self._turns))  # prompts that no turn has
        for name, endpoint in self._endpoints.items():
            self._step(f"trying every member of the mix: {name}")
            asker = Asker(name, endpoint, self._mix, self._plan)
            asked = orders(tries, [1.0], self._prompts, self._plan.seed)
            for place, member in enumerate(self._mix):
                said = await asker.refusal(replace(next(asked), member=place))
                if said is not None:
                    refused.setdefault(member.strategy.name, {})[name] = said
        left = tuple(member for member in self._mix if member.strategy.name not in refused)
        if not left:
            reasons = "; ".join(f"{name}: {next(iter(said.values()))}" for name, said in refused.items())
            raise BenchmarkError(f"--mix: nothing of it is served: {reasons}")
        return Measured(left, refused)

    async def _turn(self, turn: Turn, asker: Asker, mix: Sequence[Member]) -> list[Sample]:
        shares = [member.share for member in mix]
        if turn.concurrency is None:
            return await asker.open_loop(turn, arrivals(turn, shares, self._prompts, self._plan.seed))
        return await asker.closed_loop(turn, orders(turn, shares, self._prompts, self._plan.seed))

    def _due(self, turn: Turn, step: int) -> bool:
        if step not in turn.windows:
            return False
        begin, end = turn.windows[step]
        return any(begin <= moment < end for moment in moments(turn, self._plan.seed))

    def _told(self, turn: Turn) -> str:
        if turn.concurrency is not None:
            return str(Step(concurrency=turn.concurrency))
        return f"{turn.begin:g}/s" if turn.begin == turn.end else f"{turn.begin:g}/s to {turn.end:g}/s"

    def _whole(self, place: int) -> int:
        """How many steps are over after this turn."""
        later = [step for turn in self._turns[place + 1 :] for step in turn.windows]
        return min(later, default=len(self._plan.steps))


def steps_of(plan: Plan, servers: int) -> int:
    """How often a session of so many servers tells what begins."""
    return servers * (1 + len(plan.turns()))


def _alive(asker: Asker, samples: Sequence[Sample]) -> None:
    """Raises BenchmarkError where none of a turn's requests got anything from the server."""
    if samples and all(sample.outcome == BROKEN for sample in samples):
        raise BenchmarkError(f"none of {len(samples)} requests was answered: {asker.errors[BROKEN]}")
