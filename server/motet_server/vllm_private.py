"""Reaches of a running server into parts of vLLM that its documentation does not promise.

Seen with vLLM 0.32.0. ``tests/server/test_vllm_private.py`` fails when one of them moves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from motet_server.room import Room

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

SEEN_WITH = "0.32.0"

#: ``handler(request, raw_request)``; None once the client has left.
Handler = Callable[[Any, "Request"], Awaitable["Response | None"]]


@cache
def chat_handler() -> tuple[type[Any], Handler]:
    """The request model of POST /v1/chat/completions and its route function, which doesn't notice a client's leaving.

    vLLM's ``with_cancellation`` comes off: inside another of its kind it can be cancelled before it cancels what it
    runs, and the request would go on for nobody. Of wrong messages the first is complained about: each has two dozen
    ways to be wrong, and a long list of them would occupy the server for minutes. The model of the body is made once,
    which takes as long as rendering does.
    """
    from pydantic import FailFast, create_model
    from vllm.entrypoints.openai.chat_completion.api_router import create_chat_completion
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest

    messages = ChatCompletionRequest.model_fields["messages"].annotation
    request_type = create_model(
        ChatCompletionRequest.__name__,
        __base__=ChatCompletionRequest,
        messages=(Annotated[messages, FailFast()], ...),
    )
    return request_type, create_chat_completion.__wrapped__


def completion_handler() -> tuple[type[Any], Handler]:
    """The same of POST /v1/completions."""
    from vllm.entrypoints.openai.completion.api_router import create_completion
    from vllm.entrypoints.openai.completion.protocol import CompletionRequest

    return CompletionRequest, create_completion.__wrapped__


def cancelled_with_client(handler: Handler) -> Handler:
    """``handler(request, raw_request)``, ended when the client goes away before there is an answer.

    vLLM's ``with_cancellation`` doesn't wait until what it has cancelled is over. A choice among candidates takes a
    while to cancel all of them, and until the last has gone the adapters that they read must not be given back.
    """
    from vllm.entrypoints.serve.utils.api_utils import listen_for_disconnect

    async def answer(request: Any, raw_request: Request) -> Response | None:
        work = asyncio.ensure_future(handler(request, raw_request))
        leaving = asyncio.ensure_future(listen_for_disconnect(raw_request))
        try:
            await asyncio.wait((work, leaving), return_when=asyncio.FIRST_COMPLETED)
            return work.result() if work.done() else None
        finally:
            for task in (work, leaving):
                task.cancel()
            await asyncio.gather(work, leaving, return_exceptions=True)

    return answer


def request_problems() -> tuple[type[Exception], ...]:
    """What vLLM raises for a request it can't honour."""
    from jinja2 import TemplateError
    from vllm.exceptions import VLLMError

    return (VLLMError, ValueError, TypeError, OverflowError, NotImplementedError, TemplateError)


def describe_problem(problem: Exception) -> dict[str, Any]:
    """vLLM's own description of what it raised: message, type, param and code (the HTTP status)."""
    from vllm.entrypoints.serve import create_error_response

    error = create_error_response(problem).error.model_dump()
    if lacks_chat_template(problem):
        error |= {"message": NO_CHAT_TEMPLATE, "param": "messages"}
    return dict(error)


NO_CHAT_TEMPLATE = (
    "this model has no chat template, so messages can't be turned into a prompt; use /v1/completions, or start the "
    "server with --chat-template FILE or --default-chat-template chatml"
)


def lacks_chat_template(problem: Exception) -> bool:
    """Whether ``problem`` is a chat request to a model without a chat template."""
    from vllm.renderers.chat_utils import ChatTemplateResolutionError

    return isinstance(problem, ChatTemplateResolutionError)


def served_names(state: Any) -> list[str]:
    """The names by which clients may call the model, its first name first."""
    return [path.name for path in state.openai_serving_models.base_model_paths]


def loaded_adapters(state: Any) -> dict[str, Any]:
    """vLLM's adapters by the names under which requests reach them; what is put in can be asked for."""
    requests: dict[str, Any] = state.openai_serving_models.lora_requests
    return requests


def answers_as(state: Any, model: str | None) -> str:
    """The name that vLLM puts into answers to requests for ``model``: the adapter's, or the model's first."""
    models = state.openai_serving_models
    return str(models.model_name(models.lora_requests.get(model)))


async def model_list(
    state: Any, presets: Sequence[str], others: Sequence[tuple[str, str | None, bool]] = ()
) -> dict[str, Any]:
    """vLLM's answer to GET /v1/models: the model under each of its names, what else answers, and names with presets.

    Args:
        state: the app's.
        presets: their names.
        others: name, what it stands for, and whether presets go with it; their parent is the model.
    """
    from vllm.entrypoints.serve.engine.protocol import ModelCard, ModelPermission

    listing = await state.openai_serving_models.registry.show_available_models()
    base = listing.data[0]

    def card(name: str, root: str | None, parent: str) -> ModelCard:
        return ModelCard(
            id=name,
            owned_by="motet",
            root=root,
            parent=parent,
            max_model_len=base.max_model_len,
            permission=[ModelPermission()],
        )

    voices = [(model.id, model.id) for model in listing.data]
    for name, root, _ in others:
        listing.data.append(card(name, root, base.id))
    voices += [(name, root or name) for name, root, preset in others if preset]
    listing.data += [card(f"{name}:{preset}", root, name) for name, root in voices for preset in presets]
    return dict(listing.model_dump())


def generated_tokens(raw_request: Request) -> int | None:
    """How many tokens a finished request was answered with; None while it isn't finished or if it failed."""
    metadata = getattr(raw_request.state, "request_metadata", None)
    usage = getattr(metadata, "final_usage_info", None)
    return None if usage is None else usage.completion_tokens


def lora_request(reference: str, number: int, folder: Path) -> Any:
    """What tells the engine of an adapter; its name is part of the key of every prefix-cache block."""
    from vllm.lora.request import LoRARequest

    return LoRARequest(lora_name=reference, lora_int_id=number, lora_path=str(folder))


def engine_is_dead(error: Exception) -> bool:
    """Whether ``error`` says that the engine has ended, whatever it was asked."""
    from vllm.v1.engine.exceptions import EngineDeadError

    return isinstance(error, EngineDeadError)


def engine_complaint(error: Exception) -> str:
    """What the engine says of an adapter that it doesn't take."""
    text = " ".join(str(error).split()).removeprefix("Call to add_lora method failed: ")
    return f"the engine doesn't take it: {text:.500}"


def watch_generation(state: Any, wrapped: Callable[[Any], Any]) -> None:
    """Lets the requests of our routes reach the engine through ``wrapped(engine_client)``.

    Args:
        state: of an app whose state vLLM has made.
        wrapped: given vLLM's engine client, gives what has all that it has.
    """
    for serving in (state.openai_serving_chat, state.openai_serving_completion):
        serving.engine_client = wrapped(serving.engine_client)


def room_of(state: Any) -> Room:
    """What the engine has for the sequences of one request; of several replicas, what each has."""
    config = state.engine_client.vllm_config
    cache, scheduler = config.cache_config, config.scheduler_config
    context, block, tokens = (
        int(config.model_config.max_model_len),
        int(cache.block_size),
        cache.kv_cache_size_tokens,
    )
    return Room(
        context=context,
        sequences=min(
            int(getattr(scheduler, name) or scheduler.max_num_seqs)
            for name in (
                "max_num_seqs",
                "max_num_active_seqs",
                "max_num_batched_tokens",
                "max_num_scheduled_tokens",
            )
        ),
        slots=0 if config.lora_config is None else int(config.lora_config.max_loras),
        block=block,
        # One block stands for none.
        # vLLM tells how many whole contexts it can keep, in tokens; a context's last block may be only partly one's.
        blocks=None if tokens is None else -(-int(tokens) * -(-context // block) // context) - 1,
    )


def vocabulary_size(state: Any) -> int:
    """How many tokens the model knows."""
    return int(state.engine_client.vllm_config.model_config.get_vocab_size())


def too_long(problem: Exception) -> bool:
    """Whether ``problem`` is a prompt that is longer than the context."""
    return getattr(problem, "parameter", None) in ("input_tokens", "input_text")


def not_told(state: Any, need: str) -> str | None:
    """Why the engine can't tell a scorer what it needs; None where it can."""
    mode = str(state.engine_client.model_config.logprobs_mode)
    if need == "logprobs" and mode.endswith("logits"):
        return f"with --logprobs-mode {mode} the engine tells no log-probabilities"
    if need == "certainty":
        from motet_decoding.engine.certainty import no_certainty

        return no_certainty(state.engine_client.vllm_config)
    return None


def generation_error(message: str) -> Exception:
    """What ends a stream of vLLM's with an error, and its log without a traceback."""
    from vllm.exceptions import GenerationError

    return GenerationError(message)
