"""Two ways to the same number of tokens, side by side: groups against independent requests, and servers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import Any

from motet_benchmarks import gym
from motet_benchmarks.endpoint import CHAT, Endpoint, together
from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.voices.plan import Plan
from motet_benchmarks.voices.series import BASE, DPO

#: The servers: one that holds groups in lockstep, as it does by default, and one that was told not to.
GROUPS, NONE = "groups", "no groups"
#: What starts them beside the bundled models.
OPTIONS: Mapping[str, tuple[str, ...]] = {GROUPS: (), NONE: ("--max-voices", "0")}
#: The least of an arm's requests in a round, so that a block isn't over before it can be timed.
FEWEST = 2
#: Of as many digits as any that is reached.
FIRST_NUMBER = 100_000

_STRENGTH = {"strength": 0.5, "plausibility": 0.1}


@dataclass(frozen=True, slots=True)
class Ask:
    """One kind of request of an arm."""

    model: str
    against: Any = None
    """What the contrast is against; OTHER stands for the problem in other words. None is a plain request."""
    other: bool = False
    """Whether the problem is put in those other words."""


#: In the place of a voice: the same problem behind another first message of the same length.
OTHER = "the other prompt"
WORDS, OTHER_WORDS = "Give the right answer.", "Give the wrong answer."


@dataclass(frozen=True, slots=True)
class Arm:
    """What one client asks for in one go."""

    name: str
    server: str
    asks: tuple[Ask, ...]


@dataclass(frozen=True, slots=True)
class Duel:
    """Two arms whose clients get the same number of answers."""

    name: str
    first: Arm
    second: Arm
    aim: float | None = None
    """For the first arm's pace over the second's."""


_PLAIN = Ask(BASE)
DUELS = (
    Duel(
        "a group of adapter and base / two independent requests",
        Arm("group of adapter and base", GROUPS, (Ask(DPO, "base"),)),
        Arm("one request to the adapter, one to the base", GROUPS, (Ask(DPO), _PLAIN)),
        0.9,
    ),
    Duel(
        "a group of two prompts / two independent requests",
        Arm("group of two prompts", GROUPS, (Ask(BASE, OTHER),)),
        Arm("one request with each prompt", GROUPS, (_PLAIN, Ask(BASE, other=True))),
        0.9,
    ),
    Duel(
        "plain requests: server with groups / without",
        Arm("plain", GROUPS, (_PLAIN,)),
        Arm("plain, no groups on the server", NONE, (_PLAIN,)),
        0.97,
    ),
    Duel(
        "an answer from a group of adapter and base / a plain answer of the adapter",
        Arm("group of adapter and base, for each answer", GROUPS, (Ask(DPO, "base"),)),
        Arm("plain, adapter", GROUPS, (Ask(DPO),)),
    ),
    Duel(
        "an answer against layer 3 / a plain answer",
        Arm("against layer 3", GROUPS, (Ask(BASE, {"layer": 3}),)),
        Arm("plain, beside layer 3", GROUPS, (_PLAIN,)),
    ),
    Duel(
        "an answer against the high layers / a plain answer",
        Arm("against the high layers", GROUPS, (Ask(BASE, {"layers": "high"}),)),
        Arm("plain, beside the high layers", GROUPS, (_PLAIN,)),
    ),
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One arm in one round: two blocks of it."""

    duel: str
    arm: str
    first: bool
    clients: int
    round: int
    requests: int
    sequences: int
    """That the engine ran for them: two for a group."""
    rows: int
    """Of them at once."""
    tokens: int
    """Of each sequence."""
    seconds: float
    """From the first request of a block to its last answer, both blocks together."""


def steps_of(plan: Plan) -> int:
    """How many blocks the plan makes, the round to warm up included, unless time runs out first."""
    return 4 * len(DUELS) * len(plan.clients) * (plan.rounds + 1)


class Duels:
    """Measures every duel in every round."""

    def __init__(self, plan: Plan, endpoints: Mapping[str, Endpoint], step: Callable[[str], None]) -> None:
        """`endpoints` by server."""
        self._plan, self._endpoints, self._step = plan, endpoints, step
        self._problems: Iterator[gym.Instance] = gym.stream("test", seed=plan.seed)
        self._numbers = count(FIRST_NUMBER)

    async def measure(self) -> list[Sample]:
        """A round to warm up, then as many as planned or as time allows, at least one.

        Raises BenchmarkError where an endpoint doesn't answer as it should.
        """
        end = time.monotonic() + 60 * self._plan.minutes
        longest = 0.0
        samples: list[Sample] = []
        for number in range(self._plan.rounds + 1):
            begun = time.monotonic()
            if samples and begun + longest > end:
                break
            found = [
                sample
                for clients in self._plan.clients
                for duel in DUELS
                for sample in await self._duel(duel, clients, number)
            ]
            samples += found if number else []
            longest = max(longest, time.monotonic() - begun)
        return samples

    async def _duel(self, duel: Duel, clients: int, number: int) -> list[Sample]:
        """A, B, B, A in even rounds and B, A, A, B in odd ones: what drifts or comes second falls on both alike."""
        order = (0, 1, 1, 0) if number % 2 == 0 else (1, 0, 0, 1)
        arms = (duel.first, duel.second)
        spent = [0.0, 0.0]
        # The same problems for both arms.
        asked = [list(islice(self._problems, max(FEWEST, clients))) for _ in range(2)]
        met = [0, 0]
        for place in order:
            self._step(f"round {number or 'zero, to warm up'}: {arms[place].name}, {clients} clients")
            problems = asked[met[place]]
            met[place] += 1
            spent[place] += await self._block(arms[place], clients, problems)
        return [
            Sample(
                duel=duel.name,
                arm=arm.name,
                first=place == 0,
                clients=clients,
                round=number,
                requests=2 * len(asked[0]) * len(arm.asks),
                sequences=2 * len(asked[0]) * sum(map(_rows, arm.asks)),
                rows=clients * sum(map(_rows, arm.asks)),
                tokens=self._plan.tokens,
                seconds=spent[place],
            )
            for place, arm in enumerate(arms)
        ]

    async def _block(self, arm: Arm, clients: int, problems: Sequence[gym.Instance]) -> float:
        """Seconds for all problems, as many at once as there are clients, who wait for each other."""
        # A number before each problem keeps the prefix cache from knowing it.
        asked = [(next(self._numbers), problem) for problem in problems]
        begun = time.perf_counter()
        for start in range(0, len(asked), clients):
            await together(
                [
                    self._one(self._endpoints[arm.server], ask, number, problem)
                    for number, problem in asked[start : start + clients]
                    for ask in arm.asks
                ]
            )
        return time.perf_counter() - begun

    async def _one(self, endpoint: Endpoint, ask: Ask, number: int, problem: gym.Instance) -> None:
        against = (
            {"messages": _messages(number, problem, OTHER_WORDS)} if ask.against == OTHER else ask.against
        )
        body: dict[str, Any] = {
            "model": endpoint.model if ask.model == BASE else ask.model,
            "messages": _messages(number, problem, OTHER_WORDS if ask.other else WORDS),
            "max_tokens": self._plan.tokens,
            "temperature": 0,
            "ignore_eos": True,
        }
        if against is not None:
            body["contrast"] = {"against": against, **_STRENGTH}
        answer = await endpoint.post(CHAT, body)
        try:
            tokens = int(answer["usage"]["completion_tokens"])
            applied = (answer.get("motet") or {}).get("contrast")
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise BenchmarkError(f"{CHAT}: not an OpenAI answer: {error!r}") from None
        if tokens != self._plan.tokens:
            raise BenchmarkError(
                f"{CHAT}: {tokens} tokens came where {self._plan.tokens} were asked for with ignore_eos"
            )
        if against is not None and not applied:
            raise BenchmarkError(f"{CHAT}: answered without the contrast that it was asked for")


def _rows(ask: Ask) -> int:
    """A group has two; a plain request has one, and so has one against layers of its own."""
    layers = isinstance(ask.against, dict) and ask.against.keys() & {"layer", "layers"}
    return 1 if ask.against is None or layers else 2


def _messages(number: int, problem: gym.Instance, words: str) -> list[dict[str, str]]:
    *earlier, last = problem.messages()
    return [*earlier, {**last, "content": f"{number} {words} {last['content']}"}]
