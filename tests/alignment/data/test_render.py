"""Which tokens carry loss, token by token, and what stays of a conversation that is too long."""

from __future__ import annotations

import pytest

from motet_alignment.data import Message, render
from motet_alignment.errors import DataError
from motet_models import EXPERT


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(EXPERT)


def chat(*contents: str, system: str = "") -> list[Message]:
    roles = ["user", "assistant"] * len(contents)
    first = [Message(role="system", content=system)] if system else []
    return first + [
        Message(role=role, content=content) for role, content in zip(roles, contents, strict=False)
    ]


def learnt(tokenizer, rendered) -> list[str]:
    """The runs of tokens that carry loss, as text."""
    runs: list[list[int]] = []
    before = 0
    for token, flag in zip(rendered.input_ids, rendered.assistant, strict=True):
        if flag and not before:
            runs.append([])
        if flag:
            runs[-1].append(token)
        before = flag
    return [tokenizer.decode(run) for run in runs]


def test_every_assistant_turn_of_the_bundled_template_with_its_end(tokenizer):
    rendered = render(tokenizer, chat("What is 1 + 1?", "2", "And 2?", "4", system="Be short."), context=200)
    assert learnt(tokenizer, rendered) == ["2<|im_end|>", "4<|im_end|>"]
    assert (rendered.dropped, rendered.cut) == (0, 0)


def test_system_and_latest_turns_stay(tokenizer):
    messages = chat("What is 1 + 1?", "2", "And 2?", "4", system="Be short.")
    whole = render(tokenizer, messages, context=200)
    rendered = render(tokenizer, messages, context=len(whole.input_ids) - 1)
    assert tokenizer.decode(rendered.input_ids) == (
        "<|im_start|>system\nBe short.<|im_end|>\n<|im_start|>user\nAnd 2?<|im_end|>\n"
        "<|im_start|>assistant\n4<|im_end|>\n"
    )
    assert rendered.dropped == 2


def test_a_last_exchange_that_is_too_long_is_cut_at_its_end(tokenizer):
    messages = chat("Count.", "1 2 3 4 5 6 7 8 9")
    whole = render(tokenizer, messages, context=200)
    rendered = render(tokenizer, messages, context=whole.prompt_length + 3)
    assert rendered.input_ids == whole.input_ids[: whole.prompt_length + 3]
    assert rendered.cut == len(whole.input_ids) - whole.prompt_length - 3
    with pytest.raises(DataError, match=r"chats\.jsonl:7: no room for an answer"):
        render(tokenizer, messages, context=whole.prompt_length, source="chats.jsonl:7")
