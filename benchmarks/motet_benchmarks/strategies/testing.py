"""A streaming server of strategies that knows the answers and can be told to make every mistake: no model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from motet_benchmarks.testing import Fake

PROMPT_TOKENS = 10
TOKENS = 4
"""Of every answer and candidate."""


def _never(body: dict[str, Any]) -> str | None:
    return None


@dataclass
class StrategiesFake(Fake):
    """Answers whatever `reply` says, streamed where that is asked for.

    Attributes:
        refuses: why it refuses a request with 400, or None.
        fails: after so many requests it answers with 500; never where None.
        ignores: it answers without `motet`.
        streams: whether it does, or answers requests for a stream in one piece.
        breaks: it hangs up in the middle of a stream.
        rewards: the judge, which gives an answer its length.
        pause: seconds between two pieces of a stream.
        owner: whom its models belong to.
        judged: how many conversations each request to the judge had.
    """

    refuses: Callable[[dict[str, Any]], str | None] = _never
    fails: int | None = None
    ignores: bool = False
    streams: bool = True
    breaks: bool = False
    rewards: str = "fake-reward"
    pause: float = 0.0
    owner: str = "fake"
    judged: list[int] = field(default_factory=list)

    async def answer(self, request: Request) -> Response:
        """A chat completion."""
        body = await request.json()
        self.bodies.append(body)
        if self.fails is not None and len(self.bodies) > self.fails:
            return JSONResponse({"error": {"message": "the fake is ill"}}, status_code=500)
        if self.status != 200 or (reason := self.refuses(body)) is not None:
            status = 400 if self.status == 200 else self.status
            message = reason if self.status == 200 else "the fake refuses"
            return JSONResponse({"error": {"message": message, "code": status}}, status_code=status)
        await self._think(body)
        text, motet = self.reply(body), {} if self.ignores else self._motet(body)
        count = motet.get("best_of", {}).get("candidates", 1)
        usage = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": TOKENS * count}
        if body.get("stream") and self.streams:
            return StreamingResponse(self._stream(text, motet, usage), media_type="text/event-stream")
        choice = {"message": {"content": text}, "finish_reason": "length"}
        return JSONResponse({"choices": [choice], "usage": usage} | ({"motet": motet} if motet else {}))

    def _motet(self, body: Mapping[str, Any]) -> dict[str, Any]:
        told: dict[str, Any] = {}
        if contrast := body.get("contrast"):
            asked = contrast if isinstance(contrast, dict) else {}
            told["contrast"] = {"strength": 0.5, "plausibility": 0.1, "against": "amateur", **asked}
        if best_of := body.get("best_of"):
            n = best_of["n"]
            told["best_of"] = {
                "by": best_of.get("by", "reward:fake-reward"),
                "n": n,
                "candidates": n,
                "tokens": TOKENS * n,
                "choices": [n - 1],
                "texts": [{"index": place, "text": "", "tokens": TOKENS} for place in range(n)],
            }
        return told

    async def _stream(self, text: str, motet: dict[str, Any], usage: dict[str, int]) -> AsyncIterator[str]:
        def event(payload: dict[str, Any]) -> str:
            return f"data: {json.dumps(payload)}\n\n"

        yield event({"choices": [{"delta": {"role": "assistant", "content": ""}}]})
        yield ": a comment\n\n"
        for place in range(TOKENS):
            piece = text[place * len(text) // TOKENS : (place + 1) * len(text) // TOKENS]
            yield event({"choices": [{"delta": {"content": piece}, "finish_reason": None}]})
            await asyncio.sleep(self.pause)
            if self.breaks and place == 1:
                return
        told = {"motet": motet} if motet else {}
        yield event({"choices": [{"delta": {}, "finish_reason": "stop"}], **told})
        yield event({"choices": [], "usage": usage})
        yield "data: [DONE]\n\n"

    async def list_models(self, request: Request) -> JSONResponse:
        """The model list."""
        return JSONResponse({"data": [{"id": name, "owned_by": self.owner} for name in self.models]})

    async def judge(self, request: Request) -> JSONResponse:
        """Rewards: an answer's length; of more than 100 characters it can't read one."""
        body = await request.json()
        texts = [conversation[-1]["content"] for conversation in body["conversations"]]
        self.judged.append(len(texts))
        if body["model"] != self.rewards:
            return JSONResponse({"error": {"message": "no such reward"}}, status_code=404)
        if any(len(text) > 100 for text in texts):
            return JSONResponse({"error": {"message": "too long"}}, status_code=400)
        return JSONResponse({"data": [{"reward": float(len(text))} for text in texts]})

    def routes(self) -> list[Route]:
        """What it can be asked."""
        return [*super().routes(), Route("/v1/rewards", self.judge, methods=["POST"])]
