"""What a voice reads in the place of the answer's prompt, as tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from motet_decoding.errors import RequestError
from motet_decoding.voices import SequenceVoice
from motet_server import rendering_private, vllm_private
from motet_server.adapters.leases import in_template
from motet_server.errors import first_problem, named_field


async def tokens_of(
    state: Any, request: Any, voice: SequenceVoice, field: str, template: str | None
) -> tuple[int, ...]:
    """The tokens of a voice that has a prompt of its own.

    Args:
        state: the app's.
        request: vLLM's, checked; its options for prompts are the voice's as well.
        voice: has a prompt or messages.
        field: where the request names it.
        template: the chat template of the adapter that it speaks with; None for the server's.

    Raises:
        RequestError: naming what can't be read, or is longer than the context leaves room for.
    """
    field = f"{field}.{'prompt' if voice.messages is None else 'messages'}"
    context = vllm_private.room_of(state).context
    try:
        if voice.messages is None:
            assert voice.prompt is not None
            if not isinstance(voice.prompt, str):
                _check_tokens(state, voice.prompt, field, context, cut=request.truncate_prompt_tokens)
            ids = await rendering_private.voice_prompt(state, request, voice.prompt)
        else:
            messages = _checked(voice.messages, request, field)
            rendering = rendering_private.voice_messages(state, request, messages)
            ids = await in_template(template, rendering)
    except RequestError:
        raise
    except ValidationError as error:
        problem = first_problem(error, {"messages": list(voice.messages or ())})
        raise RequestError(
            f"{field}{problem.field.removeprefix('messages')}"
            if problem.field.startswith("messages")
            else field,
            problem.message,
        ) from None
    except vllm_private.request_problems() as problem:
        if vllm_private.too_long(problem):
            raise _too_long(field, f"more than {context}", context) from None
        raise _named(problem, request, field) from None
    if not ids:
        raise RequestError(field, "has no tokens, so there is nothing to read before the answer")
    if len(ids) >= context:
        raise _too_long(field, str(len(ids)), context)
    return tuple(ids)


def _named(problem: Exception, request: Any, field: str) -> RequestError:
    """What vLLM says of a voice: about the voice, or about the field of the request that the voice shares."""
    own = request.model_fields_set - {"messages", "prompt"}
    sent = {name: getattr(request, name) for name in own}
    error = named_field(vllm_private.describe_problem(problem), sent, prompt="messages")
    param = error["param"]
    return RequestError(param if param in sent else field, str(error["message"]))


def _too_long(field: str, tokens: str, context: int) -> RequestError:
    return RequestError(
        field, f"has {tokens} tokens, and the context has room for {context}, the answer among them"
    )


def _check_tokens(state: Any, ids: Sequence[int], field: str, context: int, *, cut: int | None) -> None:
    size = vllm_private.vocabulary_size(state)
    for place, token in enumerate(ids):
        if token >= size:
            raise RequestError(
                f"{field}.{place}", f"must be below {size}, the vocabulary's size, got {token}"
            )
    if cut is None and len(ids) >= context:
        raise _too_long(field, str(len(ids)), context)


def _checked(messages: Sequence[Mapping[str, Any]], request: Any, field: str) -> list[dict[str, Any]]:
    """The messages, of text alone, and such that an answer that is begun goes on in them too."""
    listed = [dict(message) for message in messages]
    if rendering_private.beyond_text(listed):
        raise RequestError(field, "must be of text alone: other sequences of a contrast read no media")
    if getattr(request, "continue_final_message", False):
        own, last = request.messages[-1].get("role"), listed[-1].get("role")
        if last != own:
            raise RequestError(
                f"{field}.{len(listed) - 1}",
                f"must be the {own}'s like the request's last message: continue_final_message goes on with both",
            )
    return listed
