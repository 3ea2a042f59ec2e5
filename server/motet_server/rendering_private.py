"""Reaches into parts of vLLM that its documentation does not promise, from messages to tokens and back.

Seen with vLLM 0.32.0. ``tests/server/test_rendering_private.py`` fails when one of them moves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from motet_server.vllm_private import chat_handler, completion_handler


def bring_templates(state: Any, template: Callable[[], str | None]) -> None:
    """Lets a request's own chat template come where vLLM would take the server's; what clients send is vLLM's matter.

    Args:
        state: of an app whose state vLLM has made.
        template: called in the context of each request; None for the server's.
    """
    renderer = state.online_renderer
    preprocess = renderer.preprocess_chat

    async def preprocess_chat(
        request: Any, messages: Any, default_template: str | None, *arguments: Any, **options: Any
    ) -> Any:
        return await preprocess(request, messages, template() or default_template, *arguments, **options)

    renderer.preprocess_chat = preprocess_chat


def decoder(state: Any) -> Callable[[Sequence[int], bool], str]:
    """Tokens to text by the model's tokenizer; the second argument leaves out special tokens."""
    tokenizer = state.openai_serving_completion.renderer.tokenizer

    def decode(ids: Sequence[int], skip_special_tokens: bool) -> str:
        return str(tokenizer.decode(list(ids), skip_special_tokens=skip_special_tokens))

    return decode


#: What makes vLLM cut what is too long at its end, instead of refusing it.
CUT_AT_THE_END: Mapping[str, Any] = {"truncate_prompt_tokens": -1, "truncation_side": "right"}


async def render_conversation(state: Any, messages: Sequence[Mapping[str, Any]], *, cut: bool = False) -> Any:
    """A whole conversation as an engine prompt: the chat template's text to its end, no answer begun.

    Args:
        state: the app's.
        messages: as in a chat request.
        cut: what is longer than the context leaves room for loses its end; it is refused otherwise.

    Raises:
        ValidationError, and what ``request_problems`` names: for messages that can't be rendered, or are longer than
            the context leaves room for.
    """
    request_type, _ = chat_handler()
    request = request_type.model_validate(
        {
            "messages": list(messages),
            "add_generation_prompt": False,
            "max_completion_tokens": 1,
            **(CUT_AT_THE_END if cut else {}),
        }
    )
    _, (prompt,) = _rendered(await state.online_renderer.render_chat(request))
    return prompt


def tokens_prompt(state: Any, ids: Sequence[int]) -> Any:
    """Tokens as an engine prompt; what is longer than the context leaves room for loses its end."""
    from vllm.inputs import tokens_input

    return tokens_input(list(ids[: state.engine_client.model_config.max_model_len - 1]))


def prompt_tokens(state: Any, prompt: Any) -> int:
    """The length of an engine prompt in tokens."""
    from vllm.renderers.inputs.preprocess import extract_prompt_len

    return int(extract_prompt_len(state.engine_client.model_config, prompt))


def beyond_text(messages: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a message holds anything but text."""
    from vllm.renderers.chat_utils import has_non_text_content

    return bool(has_non_text_content(list(messages)))


async def voice_prompt(state: Any, request: Any, prompt: str | Sequence[int]) -> list[int]:
    """The tokens of what another voice than the answer's reads, as those of a prompt of /v1/completions.

    Args:
        state: the app's.
        request: vLLM's, of either route; what it says of special tokens and of truncation counts here as well.
        prompt: a text, or tokens.

    Raises:
        What ``request_problems`` names: it can't be read, or is longer than the context.
    """
    request_type, _ = completion_handler()
    options = _cut(request)
    if "add_special_tokens" in request.model_fields_set:
        options["add_special_tokens"] = request.add_special_tokens
    asked = request_type.model_validate(
        {"prompt": prompt if isinstance(prompt, str) else list(prompt), "max_tokens": 1, **options}
    )
    (engine_input,) = _rendered(await state.online_renderer.render_completion(asked))
    return list(engine_input["prompt_token_ids"])


async def voice_messages(state: Any, request: Any, messages: Sequence[Mapping[str, Any]]) -> list[int]:
    """The tokens of a conversation that another voice than the answer's reads.

    Args:
        state: the app's.
        request: vLLM's, of either route; what it says of truncation counts here as well, and so do a chat's tools,
            documents and options of its template. How long its answer may be doesn't: that is held against all
            voices later.
        messages: as in a chat request, of text alone.

    Raises:
        ValidationError, and what ``request_problems`` names: they can't be rendered, or are longer than the context.
    """
    request_type, _ = chat_handler()
    asked = request_type.model_validate(
        {"messages": list(messages), "max_completion_tokens": 1, **_cut(request)}
    )
    if isinstance(request, request_type):
        own = {"messages": asked.messages, "max_completion_tokens": 1, "max_tokens": None}
        asked = request.model_copy(update=own)
    _, (engine_input,) = _rendered(await state.online_renderer.render_chat(asked))
    return list(engine_input["prompt_token_ids"])


def _cut(request: Any) -> dict[str, Any]:
    """What a request says of prompts that are too long."""
    return {name: getattr(request, name) for name in ("truncate_prompt_tokens", "truncation_side")}


def _rendered(answer: Any) -> Any:
    """What vLLM's renderer gives, which may be an error instead."""
    if hasattr(answer, "error"):
        raise ValueError(answer.error.message)
    return answer
