"""POST /v1/rewards: conversations in, raw scores out, by a reward adapter or a reward model served beside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from motet_decoding.errors import RequestError
from motet_server import metrics, vllm_private
from motet_server.adapters.errors import UnknownAdapterError
from motet_server.adapters.leases import WrongKindError, leases_of
from motet_server.adapters.service import AdapterService
from motet_server.body import read_content
from motet_server.errors import first_problem, refusal
from motet_server.reward_adapter import RewardAdapter
from motet_server.reward_models import RewardModels
from motet_server.scores import Score, place

PATH = "/v1/rewards"


class RewardBody(BaseModel):
    """POST /v1/rewards."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: Annotated[
        str, Field(description="A reward adapter, NAME or NAME@VERSION, or a reward model's name.")
    ]
    conversations: Annotated[
        list[list[dict[str, Any]]] | None, Field(description="Each a list of messages, as in chat.")
    ] = None
    messages: Annotated[list[dict[str, Any]] | None, Field(description="A single conversation.")] = None
    user: str | None = None


def attach(
    app: FastAPI,
    service: Callable[[], AdapterService | None],
    models: Callable[[], RewardModels],
    most: int,
) -> None:
    """Puts the route on ``app``; ``most`` bounds the conversations of one request."""

    @vllm_private.cancelled_with_client
    async def respond(body: RewardBody, request: Request) -> Response:
        field, conversations = conversations_of(body, most)
        if body.model in models().names():
            scores = await models().score(body.model, conversations, field)
            return _answer(body.model, None, scores)
        leases, adapters = leases_of(request.scope), service()
        if body.model in vllm_private.served_names(request.app.state):
            raise WrongKindError("model", f"{body.model} writes text and gives no rewards")
        if leases is None or adapters is None:
            raise UnknownAdapterError(body.model)
        entry = await leases.take(body.model, rewards=True)
        adapter = RewardAdapter.of(entry, adapters, request.app.state, adapters.client)
        # Every prompt is made before any is scored: what is wrong with the last one costs the engine nothing.
        prompts = [
            await adapter.render(conversation, place(field, index))
            for index, conversation in enumerate(conversations)
        ]
        return _answer(body.model, entry.reference, await adapter.score(prompts, field))

    async def rewards(request: Request) -> Response | None:
        """Raw scores of whole conversations."""
        try:
            content = await read_content(request)
            try:
                body = RewardBody.model_validate(content)
            except ValidationError as error:
                raise first_problem(error, content) from None
            response: Response | None = await respond(body, request)
        except RequestError as error:
            response = refusal(error)
            known = {*RewardBody.model_fields, "body"}
            metrics.count_error("rewards", status=response.status_code, param=error.field, known=known)
        return response

    app.add_api_route(PATH, rewards, methods=["POST"], response_model=None)


def conversations_of(body: RewardBody, most: int) -> tuple[str, Sequence[list[dict[str, Any]]]]:
    """What is to be scored, and the field that it came in.

    Raises:
        RequestError: nothing, both fields, more than ``most``, or an empty conversation.
    """
    if (body.conversations is None) == (body.messages is None):
        raise RequestError("conversations", "either conversations or messages must be given, and not both")
    if body.messages is not None:
        field, conversations = "messages", [body.messages]
    else:
        field, conversations = "conversations", body.conversations or []
    if not conversations:
        raise RequestError(field, "must not be empty")
    if len(conversations) > most:
        raise RequestError(
            field,
            f"has {len(conversations)} conversations; this server scores {most} in a request (--max-choices)",
        )
    for index, conversation in enumerate(conversations):
        if not conversation:
            raise RequestError(place(field, index), "must not be empty")
    return field, conversations


def _answer(model: str, adapter: str | None, scores: Sequence[Score]) -> JSONResponse:
    metrics.count_rewards(len(scores))
    tokens = sum(score.tokens for score in scores)
    content: dict[str, Any] = {
        "object": "list",
        "model": adapter or model,
        "data": [
            {"object": "reward", "index": index, "reward": score.reward, "tokens": score.tokens}
            for index, score in enumerate(scores)
        ],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    if adapter is not None:
        content["motet"] = {"adapter": adapter}
    return JSONResponse(content)
