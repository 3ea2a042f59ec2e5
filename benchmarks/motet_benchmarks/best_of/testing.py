"""A server of best-of requests whose candidates are known, and which can be told to make mistakes: no model."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from motet_benchmarks import gym
from motet_benchmarks.testing import Fake


@dataclass
class BestOfFake(Fake):
    """Answers the problems it is given, rightly as often as it is told; the reward knows which are right.

    Attributes:
        problems: all that it may be asked.
        skill: how often an answer is right.
        lying: the reward says the opposite.
        forgets: it answers without `motet`.
        refuses: every so many-th request is refused; 0 for none.
        scored: seconds of scorers that its metrics tell, by kind.
    """

    problems: list[gym.Instance] = field(default_factory=list)
    skill: float = 0.5
    lying: bool = False
    forgets: bool = False
    refuses: int = 0
    scored: dict[str, float] = field(default_factory=dict)

    @cached_property
    def _known(self) -> dict[str, gym.Instance]:
        return {str(problem.messages()): problem for problem in self.problems}

    async def answer(self, request: Request) -> JSONResponse:
        """A chat completion, of candidates where they are asked for."""
        body = await request.json()
        self.bodies.append(body)
        if self.refuses and len(self.bodies) % self.refuses == 0:
            return JSONResponse({"error": {"message": "the fake is ill"}}, status_code=500)
        problem = self._known[str(body["messages"])]
        rng = random.Random(f"{problem.key} {body.get('seed')}")
        asked = body.get("best_of")
        count = asked["n"] if asked else body.get("n", 1)
        right = [rng.random() < self.skill for _ in range(count)]
        texts = [problem.target if one else "wrong" for one in right]
        scores = [float(one != self.lying) for one in right]
        payload: dict[str, Any] = {
            "choices": [{"message": {"content": text}} for text in texts],
            "usage": {"prompt_tokens": 3, "completion_tokens": 4 * count},
        }
        if asked:
            best = scores.index(max(scores))
            payload["choices"] = [payload["choices"][best]]
            payload["motet"] = {"best_of": self._told(asked, texts, scores, best, rng)}
        if body.get("contrast"):
            payload["motet"] = {"contrast": {"strength": 0.5}}
        if self.forgets:
            payload.pop("motet", None)
        return JSONResponse(payload)

    def _told(
        self, asked: dict[str, Any], texts: list[str], scores: list[float], best: int, rng: random.Random
    ) -> dict[str, Any]:
        dropped = len(texts) // 2 if "reject" in asked or "steps" in asked else 0
        return {
            "tokens": 4 * len(texts) - 2 * dropped,
            "rejected": dropped,
            "choices": [best],
            "scores": scores,
            "report": {name: [rng.random() for _ in texts] for name in asked.get("report", ())},
            "texts": [{"index": place, "text": text, "tokens": 4} for place, text in enumerate(texts)],
        }

    async def judge(self, request: Request) -> JSONResponse:
        """Rewards."""
        body = await request.json()
        data = [
            {"reward": -float(conversation[-1]["content"] == "wrong")}
            for conversation in body["conversations"]
        ]
        return JSONResponse({"data": data})

    async def count(self, request: Request) -> Response:
        """Metrics: every scorer was called ten times."""
        lines = [
            f'motet_scorer_seconds_{which}{{by="{kind}"}} {number}'
            for kind, seconds in self.scored.items()
            for which, number in (("sum", seconds), ("count", 10))
        ]
        return PlainTextResponse("\n".join(["# HELP motet_scorer_seconds Time.", *lines, ""]))

    def routes(self) -> list[Route]:
        """What it can be asked."""
        return [
            *super().routes(),
            Route("/v1/rewards", self.judge, methods=["POST"]),
            Route("/metrics", self.count),
        ]
