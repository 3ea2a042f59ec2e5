"""The routes of ours on vLLM's own app (entry-point group ``vllm.endpoint_plugins``).

A request's way: body -> ``requests.prepare`` -> vLLM's route function -> ``responses``. Everything between the
checked request and its tokens is vLLM's and the engine's.
"""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response, StreamingResponse

from motet_decoding.errors import RequestError
from motet_server import metrics, rewards, vllm_private
from motet_server.adapters import routes as adapter_routes
from motet_server.adapters.leases import Leases, leases_of
from motet_server.adapters.origin import ADAPTER_PATHS
from motet_server.adapters.service import AdapterService
from motet_server.best_of import contest as contests
from motet_server.best_of.contest import ChoosingClient, Contest
from motet_server.best_of.notices import kept_alive
from motet_server.best_of.opening import open_contest
from motet_server.best_of.scorers import Scorers
from motet_server.body import read_content
from motet_server.errors import http_problem, named_field, refusal
from motet_server.gate import Gate
from motet_server.openapi import describe
from motet_server.presets import BEST_OF_PRESET, kind_of_preset
from motet_server.requests import OWN_FIELDS, Order, Route, prepare
from motet_server.responses import annotated, annotated_stream, opened
from motet_server.reward_models import RewardModels
from motet_server.settings import ServerSettings
from motet_server.voices import group as groups
from motet_server.voices.arranging import arrange
from motet_server.voices.borrowing import Lender
from motet_server.voices.telling import kind_of


class MotetEndpoints:
    """vLLM's ``EndpointPlugin``: ``contrast`` on chat and completions, presets in the model list."""

    name = "motet"
    required_tasks = ("generate",)

    def __init__(self) -> None:
        self.adapters: AdapterService | None = None
        self.rewards = RewardModels()
        self.scorers: Scorers | None = None

    def attach_router(self, app: FastAPI) -> None:
        """Puts our three routes in place of vLLM's and the gate before all of them."""
        settings = settings_of(app.state)
        routes = (chat_route(), completions_route())
        paths = [route.path for route in routes]
        app.add_middleware(
            Gate,
            settings=settings,
            paths=paths,
            service=lambda: self.adapters,
            leasing=(*ADAPTER_PATHS, rewards.PATH),
        )
        for route in routes:
            app.add_api_route(
                route.path,
                _endpoint(route, settings, lambda: self.scorers, lambda: self.adapters),
                methods=["POST"],
                response_model=None,
            )
        app.add_exception_handler(HTTPException, http_problem)
        app.add_api_route("/v1/models", self._models(settings), methods=["GET"])
        adapter_routes.attach(app, lambda: self.adapters)
        rewards.attach(app, lambda: self.adapters, lambda: self.rewards, settings.max_choices)
        describe(app, routes)

    async def init_state(self, engine_client: Any, state: Any, args: Namespace) -> None:
        """Loads the adapters; the settings came with the command line's arguments."""
        settings = settings_of(state)
        self.rewards = RewardModels(settings.rewards)
        if settings.adapters is not None:
            self.adapters = AdapterService(settings.adapters, engine_client, state, self.rewards.names())
            await self.adapters.start()
        self.scorers = Scorers(settings, state, engine_client, lambda: self.adapters, lambda: self.rewards)
        vllm_private.watch_generation(state, ChoosingClient)
        await self.rewards.ready()

    def _models(self, settings: ServerSettings) -> Callable[[Request], Awaitable[JSONResponse]]:
        async def show_models(request: Request) -> JSONResponse:
            cards = [*([] if self.adapters is None else self.adapters.cards()), *self.rewards.cards()]
            presets = list(settings.presets)
            if self.scorers is not None and self.scorers.default_reward() and settings.max_candidates >= 8:
                presets += [BEST_OF_PRESET] if BEST_OF_PRESET not in presets else []
            return JSONResponse(await vllm_private.model_list(request.app.state, presets, cards))

        return show_models


def settings_of(state: Any) -> ServerSettings:
    """The server's settings; vLLM carries them on its own arguments into every process that answers HTTP."""
    return getattr(state.args, "motet", None) or ServerSettings()


def chat_route() -> Route:
    """POST /v1/chat/completions."""
    from openai.types.chat import completion_create_params as openai

    request_type, handler = vllm_private.chat_handler()
    fields = _fields(request_type, openai.CompletionCreateParamsStreaming)
    return Route("chat", "/v1/chat/completions", "messages", request_type, handler, fields)


def completions_route() -> Route:
    """POST /v1/completions."""
    from openai.types import completion_create_params as openai

    request_type, handler = vllm_private.completion_handler()
    fields = _fields(request_type, openai.CompletionCreateParamsStreaming)
    return Route("completions", "/v1/completions", "prompt", request_type, handler, fields)


def _fields(request_type: type[Any], openai: Any) -> frozenset[str]:
    aliases = {field.alias for field in request_type.model_fields.values() if field.alias}
    return frozenset(
        {*request_type.model_fields, *aliases, *openai.__required_keys__, *openai.__optional_keys__}
    )


def _endpoint(
    route: Route,
    settings: ServerSettings,
    scorers: Callable[[], Scorers | None],
    adapters: Callable[[], AdapterService | None],
) -> Callable[[Request], Awaitable[Response | None]]:
    """The route function: refusals, ours and vLLM's, leave it in one shape, named and counted."""

    @vllm_private.cancelled_with_client
    async def respond(order: Order, request: Request) -> Response | None:
        leases = leases_of(request.scope)
        order = await _voices(order, request, leases)
        contest = await _contest(order, request, leases)
        response = await route.handler(order.request, request)
        if isinstance(response, StreamingResponse):
            if contest is not None:
                response.body_iterator = kept_alive(response.body_iterator, contest.notices)
            response = await opened(response)
            if contest is not None and contest.error is not None and response.status_code >= 400:
                raise contest.error  # which vLLM has told the stream in words of its own
        if response is None or response.status_code >= 400:
            return response  # the client has left, or vLLM refuses
        preset = kind_of_preset(order.preset, settings.presets)
        if order.contrast is not None:
            metrics.count_request(
                route.name, form=order.contrast.form, against=kind_of(order.contrast), preset=preset
            )
        if contest is not None:
            metrics.count_best_of(route.name, by=contest.kind, preset=preset)
        served_as = vllm_private.answers_as(request.app.state, order.request.model)
        if isinstance(response, StreamingResponse):
            response.body_iterator = annotated_stream(
                response.body_iterator,
                order,
                served_as,
                lambda sent: _count_tokens(route, order, contest, request, sent),
                contest,
            )
            return response
        _count_tokens(route, order, contest, request, 0)
        if isinstance(response, JSONResponse):
            return annotated(response, order, served_as, contest)
        return response

    async def _voices(order: Order, request: Request, leases: Leases | None) -> Order:
        """Finds who answers and who contradicts, and puts their group where its engine requests will find it."""
        group, state, model = None, request.app.state, order.request.model
        names = tuple(vllm_private.served_names(state))
        if leases is None or not model or model in names or not leases.shelf.knows(model):
            model = None
        lender = Lender(adapters(), leases, names)
        borrowed = await lender.take(order.contrast, model, vllm_private.room_of(state).slots)
        if borrowed.answers is not None:
            order = order.answered_by(borrowed.answers.reference)
        if order.contrast is not None:
            told, group = await arrange(order, settings.voices, state, lender, borrowed.voices)
            order = replace(order, told=told)
        groups.current.set(group)
        return order

    async def _contest(order: Order, request: Request, leases: Leases | None) -> Contest | None:
        """Puts the request's contest, if it has one, where its engine requests will find it."""
        contest, known = None, scorers()
        if order.best_of is not None and known is not None:
            contest = await open_contest(order, known, request.app.state, leases)
        contests.current.set(contest)
        return contest

    def _rewarded() -> bool:
        known = scorers()
        return known is not None and known.default_reward() is not None

    async def answer(request: Request) -> Response | None:
        body: dict[str, Any] = {}
        try:
            body = await read_content(request)
            served = _Served(vllm_private.served_names(request.app.state), leases_of(request.scope))
            order = prepare(body, route, settings, served, rewarded=_rewarded)
            response = await respond(order, request)
        except RequestError as error:
            response = refusal(error)
        except vllm_private.request_problems() as problem:
            described = vllm_private.describe_problem(problem)
            response = JSONResponse({"error": described}, status_code=described["code"])
        if response is not None and response.status_code >= 400:
            return _named_and_counted(response, body, route)
        return response

    return answer


def _count_tokens(route: Route, order: Order, contest: Contest | None, request: Request, sent: int) -> None:
    if order.contrast is not None:
        tokens = vllm_private.generated_tokens(request) if contest is None else contest.tokens
        metrics.count_tokens(route.name, sent if tokens is None else tokens)


def _named_and_counted(response: Response, body: Mapping[str, Any], route: Route) -> JSONResponse:
    error = named_field(json.loads(bytes(response.body))["error"], body, prompt=route.prompt)
    status = response.status_code
    metrics.count_error(
        route.name, status=status, param=error["param"], known={*route.fields, *OWN_FIELDS, "body"}
    )
    retry = response.headers.get("retry-after")
    return JSONResponse(
        {"error": error}, status_code=status, headers=None if retry is None else {"Retry-After": retry}
    )


class _Served:
    """The names that a model field may have before a preset's."""

    def __init__(self, models: Sequence[str], leases: Leases | None) -> None:
        self._models = models
        self._leases = leases

    def __contains__(self, name: object) -> bool:
        if name in self._models:
            return True
        return self._leases is not None and isinstance(name, str) and self._leases.shelf.knows(name)
