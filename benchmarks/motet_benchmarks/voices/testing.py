"""A server of voices that knows the gym's answers and how well each voice does: no model."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from motet_benchmarks import gym
from motet_benchmarks.testing import Fake


def _always(problem: gym.Instance, body: dict[str, Any]) -> bool:
    return True


@dataclass
class VoicesFake(Fake):
    """Answers the problems it is given.

    Attributes:
        problems: all that it may be asked about; others get the answer "words".
        knows: whether it answers one rightly.
        refuses: why it refuses a contrast, or None.
        forgets: it answers a contrast without saying that it was applied.
        short: tokens that its answers lack where a number was asked for.
    """

    problems: list[gym.Instance] = field(default_factory=list)
    knows: Callable[[gym.Instance, dict[str, Any]], bool] = _always
    refuses: Callable[[dict[str, Any]], str | None] = lambda contrast: None
    forgets: bool = False
    short: int = 0

    @cached_property
    def _known(self) -> dict[str, gym.Instance]:
        return {json.dumps(problem.messages()): problem for problem in self.problems}

    async def answer(self, request: Request) -> JSONResponse:
        """A chat completion."""
        body = await request.json()
        self.bodies.append(body)
        contrast = body.get("contrast")
        refusal = self.refuses(contrast) if contrast else None
        if self.status != 200 or refusal is not None:
            error = {"error": {"message": refusal or "the fake is ill"}}
            return JSONResponse(error, status_code=400 if refusal is not None else self.status)
        await self._think(body)
        problem = self._known.get(json.dumps(body["messages"]))
        text = "words"
        if problem is not None:
            text = problem.target if self.knows(problem, body) else problem.mistakes[0].text
        payload: dict[str, Any] = {
            "choices": [{"message": {"content": text}}],
            "usage": {"prompt_tokens": 3, "completion_tokens": self.tokens(body) - self.short},
        }
        if contrast and not self.forgets:
            payload["motet"] = {"contrast": contrast}
        return JSONResponse(payload)
