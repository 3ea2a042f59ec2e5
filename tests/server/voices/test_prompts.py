"""What a voice reads is rendered as the request's own prompt would be, by vLLM's renderer on a real tokenizer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from motet_decoding.errors import RequestError
from motet_decoding.testing import CHAT_TEMPLATE, byte_tokenizer, llama_config, write_model
from motet_decoding.voices import SequenceVoice
from motet_server import rendering_private, vllm_private
from motet_server.adapters.leases import chat_template
from motet_server.voices.prompts import tokens_of

pytestmark = [pytest.mark.engine, pytest.mark.anyio]

CONTEXT = 64
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
USER = {"role": "user", "content": "ab"}
SHOUTING = CHAT_TEMPLATE.replace("{{ message.content }}", "{{ message.content | upper }}")
#: Says what of the request it was given beside the messages.
TELLING = (
    "{{ (tools or []) | length }}{{ documents | default([]) | length }}{{ mood }}{{ add_generation_prompt }}"
)


def make_state(folder: Any, template: str | None) -> Any:
    """An app's state as far as rendering goes, its tokenizer putting a token before every text."""
    from tokenizers.processors import TemplateProcessing
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.renderers import renderer_from_config
    from vllm.renderers.online_renderer import OnlineRenderer

    tokenizer = byte_tokenizer(chat_template=template)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 256)]
    )
    config = llama_config(32, 1, vocab_size=300, max_position_embeddings=CONTEXT)
    write_model(folder, config, seed=1, tokenizer=tokenizer)
    options = AsyncEngineArgs(model=str(folder), enforce_eager=True)
    engine = options.create_engine_config()
    renderer = OnlineRenderer(
        engine.model_config,
        renderer_from_config(engine),
        request_logger=None,
        chat_template=None,
        chat_template_content_format="auto",
    )
    state = SimpleNamespace(
        online_renderer=renderer, engine_client=SimpleNamespace(vllm_config=engine), tokenizer=tokenizer
    )
    rendering_private.bring_templates(state, chat_template.get)
    return state


@pytest.fixture(scope="module")
def state(tmp_path_factory: Any) -> Any:
    return make_state(tmp_path_factory.mktemp("voices"), CHAT_TEMPLATE)


def chat(**fields: Any) -> Any:
    request_type, _ = vllm_private.chat_handler()
    return request_type.model_validate({"messages": [USER], **fields})


def completion(**fields: Any) -> Any:
    request_type, _ = vllm_private.completion_handler()
    return request_type.model_validate({"prompt": "a", **fields})


async def read(state: Any, request: Any, template: str | None = None, **voice: Any) -> list[int]:
    return list(await tokens_of(state, request, SequenceVoice(**voice), "f", template))


async def refusal(state: Any, request: Any, **voice: Any) -> RequestError:
    with pytest.raises(RequestError) as refused:
        await read(state, request, **voice)
    return refused.value


@pytest.mark.parametrize("request_of", [chat, completion])
async def test_a_text_is_read_as_a_plain_prompt_on_either_route(state, request_of):
    ids = state.tokenizer("ab")["input_ids"]
    assert ids[0] == 256
    assert await read(state, request_of(), prompt="ab") == ids
    assert await read(state, request_of(add_special_tokens=False), prompt="ab") == ids[1:]
    assert await read(state, request_of(), prompt=(7, 8)) == [7, 8]
    cut = request_of(truncate_prompt_tokens=2, truncation_side="left")
    assert await read(state, cut, prompt="abcdef") == state.tokenizer("abcdef")["input_ids"][-2:]


@pytest.mark.parametrize("request_of", [chat, completion])
async def test_messages_are_read_as_a_chats(state, request_of):
    text = CHAT_TEMPLATE and "<|im_start|>user\nab<|im_end|>\n<|im_start|>assistant\n"
    expected = state.tokenizer(text, add_special_tokens=False)["input_ids"]
    assert await read(state, request_of(), messages=(USER,)) == expected


async def test_the_requests_tools_documents_and_template_options_are_the_voices_too(state):
    request = chat(
        tools=[TOOL],
        tool_choice="none",
        documents=[{"title": "t", "text": "x"}],
        chat_template_kwargs={"mood": "sad"},
        add_generation_prompt=False,
    )
    ids = await read(state, request, TELLING, messages=(USER,))
    assert state.tokenizer.decode(ids) == "11sadFalse"
    assert request.messages == [USER]


async def test_each_voice_is_asked_in_its_adapters_template(state):
    chat_template.set(TELLING)
    assert "AB" in state.tokenizer.decode(await read(state, chat(), SHOUTING, messages=(USER,)))
    assert "ab" in state.tokenizer.decode(await read(state, chat(), None, messages=(USER,)))
    assert chat_template.get() == TELLING


async def test_an_answer_that_is_begun_goes_on_in_the_voices_messages(state):
    begun = {"role": "assistant", "content": "It"}
    request = chat(messages=[USER, begun], continue_final_message=True, add_generation_prompt=False)
    other = {"role": "user", "content": "xy"}
    text = state.tokenizer.decode(await read(state, request, messages=(other, begun)))
    assert text == "<|im_start|>user\nxy<|im_end|>\n<|im_start|>assistant\nIt"
    error = await refusal(state, request, messages=(other,))
    assert (error.field, "continue_final_message" in error.message) == ("f.messages.0", True)


@pytest.mark.parametrize(
    ("voice", "field", "words"),
    [
        ({"prompt": "a" * CONTEXT}, "f.prompt", "more than 64 tokens"),
        ({"prompt": "a" * (CONTEXT - 1)}, "f.prompt", "has 64 tokens, and the context has room for 64"),
        ({"prompt": (1,) * 70}, "f.prompt", "has 70 tokens, and the context has room for 64"),
        ({"messages": ({"role": "user", "content": "a" * 100},)}, "f.messages", "more than 64 tokens"),
        ({"prompt": (1, 300)}, "f.prompt.1", "below 300"),
        ({"messages": ({"role": "user", "content": 5},)}, "f.messages.0", "valid"),
        ({"messages": ({"content": "a"},)}, "f.messages.0", "required"),
        (
            {"messages": ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]},)},
            "f.messages",
            "text alone",
        ),
    ],
)
async def test_what_can_not_be_read_is_named(state, voice, field, words):
    error = await refusal(state, chat(), **voice)
    assert error.field == field
    assert words in error.message


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"tools": [TOOL], "tool_choice": "auto"}, "tool_choice"),
        ({"truncate_prompt_tokens": CONTEXT + 1}, "truncate_prompt_tokens"),
    ],
)
async def test_what_the_request_says_of_all_prompts_is_its_own_fault(state, fields, field):
    error = await refusal(state, chat(**fields), messages=(USER,))
    assert error.field == field, error


async def test_how_long_the_answer_may_be_is_not_the_voices_matter(state):
    assert await read(state, chat(max_tokens=10 * CONTEXT), messages=(USER,)) == await read(
        state, chat(), messages=(USER,)
    )


@pytest.mark.parametrize("request_of", [chat, completion])
async def test_conversations_are_cut_as_prompts_are(state, request_of):
    long = {"role": "user", "content": "a" * 100}
    cut = request_of(truncate_prompt_tokens=5, truncation_side="right")
    assert len(await read(state, cut, messages=(long,))) == 5
    fill = request_of(truncate_prompt_tokens=-1, truncation_side="left")
    assert len(await read(state, fill, messages=(long,))) == CONTEXT - 1


async def test_a_model_without_a_template_reads_no_messages(tmp_path):
    error = await refusal(make_state(tmp_path, None), completion(), messages=(USER,))
    assert (error.field, "--chat-template" in error.message) == ("f.messages", True)


def test_the_engines_room_is_where_we_look(state):
    config = state.engine_client.vllm_config
    room = vllm_private.room_of(state)
    assert (room.context, room.slots, room.blocks) == (CONTEXT, 0, None)
    assert room.block == config.cache_config.block_size
    assert room.sequences == min(
        config.scheduler_config.max_num_seqs, config.scheduler_config.max_num_batched_tokens
    )
    # The engine tells it once it has measured its memory.
    for blocks in (10, 33, 1000):  # so many, told in whole contexts and their tokens
        contexts = blocks / -(-CONTEXT // room.block)
        config.cache_config.kv_cache_size_tokens = int(contexts * CONTEXT)
        assert vllm_private.room_of(state).blocks == blocks - 1  # one of them stands for none
    config.cache_config.kv_cache_size_tokens = None


def test_the_engine_tells_its_room_to_those_who_answer():
    import inspect

    from vllm.v1.engine.core_client import MPClient

    assert "cache_config.kv_cache_size_tokens" in inspect.getsource(MPClient._apply_ready_response)
