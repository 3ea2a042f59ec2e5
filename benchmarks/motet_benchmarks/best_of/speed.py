"""Best-of-N as one request against a client that draws and judges candidates itself, side by side."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice

from motet_benchmarks import gym
from motet_benchmarks.best_of.candidates import DRAWN, said
from motet_benchmarks.best_of.plan import REWARD, Plan
from motet_benchmarks.endpoint import CHAT, Endpoint, together
from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.statistics import Interval, median, ratio

REWARDS = "/v1/rewards"
#: The arms: one request with best_of; as many plain requests as candidates, then one for their rewards; and a plain
#: request with as many choices (`n`), then one for their rewards.
ONE, SEVERAL, CHOICES = "one best_of request", "separate requests + rewards", "one request with n + rewards"
ARMS = (ONE, SEVERAL, CHOICES)
#: The aim for the first over the second, in prompts a second.
AIM = 1.5
#: From fewer rounds the bootstrap's interval is too narrow to judge by.
FEWEST_ROUNDS = 6
#: Prompts of a measurement, for each client, and at least.
EACH, FEWEST = 2, 8


@dataclass(frozen=True, slots=True)
class Sample:
    """One arm, measured once."""

    clients: int
    arm: str
    round: int
    prompts: int
    tokens: int
    """Of all candidates."""
    seconds: float
    wait: float
    """Mean seconds from asking to the best of a prompt's candidates."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """How much faster one request is than another way, in prompts a second."""

    over: str
    clients: int
    ratio: Interval
    rounds: int

    @property
    def verdict(self) -> str:
        """Against the aim, which is for separate requests."""
        if self.over != SEVERAL:
            return ""
        met = "met" if self.ratio.value >= AIM else "missed"
        if self.rounds < FEWEST_ROUNDS:
            return f"{met}, in too few rounds to be sure"
        sure = self.ratio.low >= AIM or self.ratio.high < AIM
        return met if sure else f"{met}, within noise"


def prompts(seed: int) -> Iterator[list[dict[str, str]]]:
    """Problems of the test split without end; those that have steps are asked to show them every other time."""
    for number, problem in enumerate(gym.stream("test", seed=seed)):
        yield (problem.stepwise() if problem.steps and number % 2 else problem).messages()


def ratios(samples: Sequence[Sample]) -> list[Ratio]:
    """One request over the other ways, by how many clients ask at once."""
    found = []
    for clients in dict.fromkeys(sample.clients for sample in samples):
        paces = {
            arm: [
                sample.prompts / sample.seconds
                for sample in sorted(samples, key=lambda each: each.round)
                if sample.clients == clients and sample.arm == arm
            ]
            for arm in ARMS
        }
        found += [
            Ratio(arm, clients, ratio(paces[ONE], paces[arm]), len(paces[ONE])) for arm in (SEVERAL, CHOICES)
        ]
    return found


def paces(samples: Sequence[Sample]) -> list[tuple[str, int, Interval, Interval]]:
    """Arm, clients, prompts a second and the mean wait: this machine's own figures, for scale only."""
    keys = dict.fromkeys((sample.arm, sample.clients) for sample in samples)
    found = []
    for arm, clients in sorted(keys, key=lambda key: (key[1], ARMS.index(key[0]))):
        own = [sample for sample in samples if (sample.arm, sample.clients) == (arm, clients)]
        found.append(
            (
                arm,
                clients,
                median([sample.prompts / sample.seconds for sample in own]),
                median([sample.wait for sample in own]),
            )
        )
    return found


class Speed:
    """Measures the arms, all of them in every round."""

    def __init__(self, plan: Plan, endpoint: Endpoint, step: Callable[[str], None]) -> None:
        self._plan, self._endpoint, self._step = plan, endpoint, step
        self._prompts = prompts(plan.seed)
        self._seeds = count(1_000_000_000 * (plan.seed + 1), 1000)

    async def measure(self) -> list[Sample]:
        """A round to warm up, then as many as planned or as time allows, at least one.

        Raises BenchmarkError where the endpoint doesn't answer as it should.
        """
        end = time.monotonic() + 60 * self._plan.minutes
        await self._round(0)
        samples: list[Sample] = []
        longest = 0.0
        for number in range(1, self._plan.rounds + 1):
            begun = time.monotonic()
            if samples and begun + longest > end:
                break
            samples += await self._round(number)
            longest = max(longest, time.monotonic() - begun)
        return samples

    async def _round(self, number: int) -> list[Sample]:
        samples = []
        for clients in self._plan.clients:
            asked = list(islice(self._prompts, max(FEWEST, EACH * clients)))
            seeds = [next(self._seeds) for _ in asked]
            # In turn forwards and backwards: none always comes first.
            for arm in ARMS if number % 2 == 0 else tuple(reversed(ARMS)):
                self._step(f"round {number or 'zero, to warm up'}: {arm}, {clients} clients")
                samples.append(await self._arm(arm, clients, number, asked, seeds))
        return samples

    async def _arm(
        self, arm: str, clients: int, number: int, asked: Sequence[list[dict[str, str]]], seeds: Sequence[int]
    ) -> Sample:
        places = asyncio.Semaphore(clients)
        ways: dict[str, Callable[[list[dict[str, str]], int], Awaitable[int]]] = {
            ONE: self._one,
            SEVERAL: self._several,
            CHOICES: self._choices,
        }

        async def timed(messages: list[dict[str, str]], seed: int) -> tuple[int, float]:
            async with places:
                begun = time.perf_counter()
                tokens = await ways[arm](messages, seed)
                return tokens, time.perf_counter() - begun

        begun = time.perf_counter()
        done = await together([timed(messages, seed) for messages, seed in zip(asked, seeds, strict=True)])
        seconds = time.perf_counter() - begun
        tokens, waits = zip(*done, strict=True)
        return Sample(clients, arm, number, len(asked), sum(tokens), seconds, sum(waits) / len(waits))

    async def _one(self, messages: list[dict[str, str]], seed: int) -> int:
        asked = {"n": self._plan.candidates, "by": self._plan.judge(REWARD)}
        answer = await self._endpoint.post(CHAT, self._body(messages, seed=seed, best_of=asked))
        said(answer)
        return int(answer["usage"]["completion_tokens"])

    async def _several(self, messages: list[dict[str, str]], seed: int) -> int:
        answers = await together(
            [
                self._endpoint.post(CHAT, self._body(messages, seed=seed + place))
                for place in range(self._plan.candidates)
            ]
        )
        await self._judged(messages, [said(answer) for answer in answers])
        return sum(int(answer["usage"]["completion_tokens"]) for answer in answers)

    async def _choices(self, messages: list[dict[str, str]], seed: int) -> int:
        answer = await self._endpoint.post(CHAT, self._body(messages, seed=seed, n=self._plan.candidates))
        await self._judged(messages, [choice["message"]["content"] or "" for choice in answer["choices"]])
        return int(answer["usage"]["completion_tokens"])

    async def _judged(self, messages: list[dict[str, str]], texts: Sequence[str]) -> str:
        """The best of the texts, as a client chooses it."""
        asked = [[*messages, {"role": "assistant", "content": text}] for text in texts]
        answer = await self._endpoint.post(REWARDS, {"model": self._plan.reward, "conversations": asked})
        try:
            rewards = [float(each["reward"]) for each in answer["data"]]
        except (KeyError, TypeError, ValueError) as error:
            raise BenchmarkError(f"{REWARDS}: no rewards: {error!r}") from None
        return texts[rewards.index(max(rewards))]

    def _body(self, messages: list[dict[str, str]], **more: object) -> dict[str, object]:
        return {
            "model": self._plan.policy,
            "messages": messages,
            "max_tokens": self._plan.tokens,
            **DRAWN,
            **more,
        }
