"""Reward models served beside the model: each a vLLM pooling server of its own, spoken to on this machine only."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Sequence
from typing import Any

import httpx

from motet_decoding.errors import RequestError
from motet_decoding.together import together
from motet_server import rendering_private
from motet_server.scores import Score, ScoreError, place
from motet_server.settings import RewardModel

#: Seconds between looks at a server that is starting, and for which one conversation may be scored.
_LOOK, _ANSWER = 0.3, 300.0


class RewardModelError(RequestError):
    """A reward model's server that doesn't answer."""

    status, kind = 503, "ServiceUnavailableError"


class RewardModels:
    """All of one server's reward models.

    Args:
        models: none of the same name.
    """

    def __init__(self, models: Sequence[RewardModel] = ()) -> None:
        self._models = {model.name: model for model in models}
        self._clients = {
            model.name: httpx.AsyncClient(
                base_url=model.url,
                headers={"Authorization": f"Bearer {model.key}"},
                timeout=httpx.Timeout(_ANSWER, connect=10.0),
                trust_env=False,
            )
            for model in models
        }

    def names(self) -> list[str]:
        """What requests call them."""
        return list(self._models)

    def cards(self) -> list[tuple[str, str | None, bool]]:
        """For the list of models: name, checkpoint, and that no preset goes with it."""
        return [(model.name, model.model, False) for model in self._models.values()]

    async def ready(self) -> None:
        """Waits until all answer.

        Raises:
            RuntimeError: one has ended instead, with the last it said.
        """
        await asyncio.gather(*map(self._wait, self._models.values()))

    async def _wait(self, model: RewardModel) -> None:
        while not await self._answers(model):
            if not alive(model.process):
                raise RuntimeError(
                    f"--reward {model.name}: {model.model} can't be served: {last_words(model.log)}"
                )
            await asyncio.sleep(_LOOK)

    async def _answers(self, model: RewardModel) -> bool:
        try:
            return (await self._clients[model.name].get("/health")).status_code == 200
        except httpx.HTTPError:
            return False

    async def score(
        self,
        name: str,
        conversations: Sequence[list[dict[str, Any]] | str],
        field: str,
        *,
        cut: bool = False,
        salt: str | None = None,
    ) -> list[Score]:
        """The raw rewards, in the conversations' order.

        Args:
            name: the model's.
            conversations: messages, or a text as it is.
            field: where they came from, for the error.
            cut: what is longer than the model's context loses its end; it is refused otherwise.
            salt: of what its server keeps of them in its cache.

        Raises:
            RequestError: a conversation that can't be scored, by its index.
            RewardModelError: the model's server doesn't answer.
        """

        async def score(index: int, conversation: list[dict[str, Any]] | str) -> Score:
            body: dict[str, Any] = {"use_activation": False}  # the raw score, not its sigmoid
            if isinstance(conversation, str):
                body["input"] = conversation
            else:
                body |= {"messages": conversation, "add_generation_prompt": False}
            if cut:
                body |= rendering_private.CUT_AT_THE_END
            if salt is not None:
                body["cache_salt"] = salt
            try:
                answer = await self._clients[name].post("/classify", json=body)
            except httpx.HTTPError as error:
                state = (
                    "doesn't answer" if alive(self._models[name].process) else "has ended; restart this one"
                )
                raise RewardModelError(
                    "model", f"the server of {name} {state} ({type(error).__name__})"
                ) from None
            if answer.status_code == 400:
                raise RequestError(place(field, index), str(answer.json()["error"]["message"]))
            if answer.status_code != 200:
                raise RewardModelError("model", f"the server of {name} says {answer.status_code}")
            content = answer.json()
            reward = float(content["data"][0]["probs"][0])
            if not math.isfinite(reward):
                raise ScoreError(place(field, index), f"its reward isn't finite: {reward}")
            return Score(reward, int(content["usage"]["prompt_tokens"]))

        return await together(score(index, each) for index, each in enumerate(conversations))


def alive(process: int) -> bool:
    """Whether a process of ours still runs; its starter reaps it when it ends."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def last_words(log: str) -> str:
    """The last error that a server printed."""
    try:
        with open(log, encoding="utf-8", errors="replace") as content:
            lines = [line.strip() for line in content if line.strip()]
    except OSError:
        return f"it ended; see {log}"
    errors = [line for line in lines if "Error" in line]
    return f"{(errors or lines or ['it ended'])[-1]:.500}"
