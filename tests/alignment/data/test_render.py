"""The bundled template's tokens one by one, and what stays of a conversation that is too long."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from tests.alignment.data.templates import prompt_length

from motet_alignment.data import Message, render, render_comparison, render_turns
from motet_alignment.data.items import Comparison
from motet_alignment.errors import DataError


def marked(tokenizer, rendered) -> str:
    """Each token with a stroke before it, a star where it carries loss."""
    return "".join(
        ("*" if flag else "|") + tokenizer.decode([token])
        for token, flag in zip(rendered.input_ids, rendered.assistant, strict=True)
    )


def test_the_bundled_template_token_by_token(tokenizer, chat):
    rendered = render(tokenizer, chat("1 + 1?", "2", "2 - 2?", "0.5", system="No."), context=200)
    assert marked(tokenizer, rendered) == (
        "|<|im_start|>|system|\n|N|o|.|<|im_end|>|\n"
        "|<|im_start|>|user|\n|1| |+| |1|?|<|im_end|>|\n"
        "|<|im_start|>|assistant|\n*2*<|im_end|>|\n"
        "|<|im_start|>|user|\n|2| |-| |2|?|<|im_end|>|\n"
        "|<|im_start|>|assistant|\n*0*.*5*<|im_end|>|\n"
    )
    assert (rendered.dropped, rendered.cut, prompt_length(rendered)) == (0, 0, 22)


def test_tools_results_are_not_learnt(tokenizer, learnt):
    turns = ("user", "a"), ("assistant", "b"), ("tool", "c"), ("assistant", "d")
    messages = [Message(role=role, content=content) for role, content in turns]
    assert learnt(tokenizer, render(tokenizer, messages, context=200)) == ["b<|im_end|>", "d<|im_end|>"]


def test_system_and_latest_turns_stay(tokenizer, chat):
    messages = chat("What is 1 + 1?", "2", "And 2?", "4", system="Be short.")
    whole = render(tokenizer, messages, context=200)
    rendered = render(tokenizer, messages, context=len(whole.input_ids) - 1)
    assert tokenizer.decode(rendered.input_ids) == (
        "<|im_start|>system\nBe short.<|im_end|>\n<|im_start|>user\nAnd 2?<|im_end|>\n"
        "<|im_start|>assistant\n4<|im_end|>\n"
    )
    assert (rendered.dropped, rendered.cut) == (2, 0)


def test_a_last_exchange_that_is_too_long_is_cut_at_its_end(tokenizer, chat):
    messages = chat("Count.", "1 2 3 4 5 6 7 8 9")
    whole = render(tokenizer, messages, context=200)
    rendered = render(tokenizer, messages, context=prompt_length(whole) + 3)
    assert rendered.input_ids == whole.input_ids[: prompt_length(whole) + 3]
    assert rendered.assistant == [0] * prompt_length(whole) + [1, 1, 1]
    assert rendered.cut == len(whole.input_ids) - prompt_length(whole) - 3
    with pytest.raises(DataError, match=r"chats\.jsonl:7: no room for an answer"):
        render(tokenizer, messages, context=prompt_length(whole), source="chats.jsonl:7")


def test_a_prompt_to_go_on_from_is_never_cut(tokenizer, chat):
    messages = chat("a", "b", "c")
    whole = render(tokenizer, messages, context=200, generation_prompt=True)
    assert tokenizer.decode(whole.input_ids).endswith("c<|im_end|>\n<|im_start|>assistant\n")
    shorter = render(tokenizer, messages, context=len(whole.input_ids) - 1, generation_prompt=True)
    assert (shorter.dropped, tokenizer.decode(shorter.input_ids)) == (
        2,
        "<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n",
    )
    with pytest.raises(DataError, match="x:1: the last prompt alone needs 9 tokens of a context of 8"):
        render(tokenizer, messages, context=8, generation_prompt=True, source="x:1")


words = some.text("ab ", min_size=1, max_size=8).map(lambda text: f"x{text}")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(some.lists(some.tuples(words, words), min_size=1, max_size=6), some.text("s", max_size=3), some.data())
def test_any_conversation_keeps_its_system_prompt_and_as_many_latest_exchanges_as_fit(
    tokenizer, chat, exchanges, system, data
):
    contents = [content for pair in exchanges for content in pair]
    whole = render(tokenizer, chat(*contents, system=system), context=10_000)
    last = render(tokenizer, chat(*contents[-2:], system=system), context=10_000)
    context = data.draw(some.integers(prompt_length(last) + 1, len(whole.input_ids) + 2))
    rendered = render(tokenizer, chat(*contents, system=system), context=context)
    fitting = [
        kept
        for begin in range(0, len(contents), 2)
        if len((kept := render(tokenizer, chat(*contents[begin:], system=system), context=10_000)).input_ids)
        <= context
    ]
    if fitting:
        assert (rendered.input_ids, rendered.assistant) == (fitting[0].input_ids, fitting[0].assistant)
        assert rendered.cut == 0
    else:
        assert rendered.input_ids == last.input_ids[:context]
        assert rendered.assistant == last.assistant[:context]
        assert rendered.cut == len(last.input_ids) - context
    kept = tokenizer.decode(rendered.input_ids).count("<|im_start|>")
    assert rendered.dropped == len(contents) + bool(system) - kept


def pair(chat, prompt, chosen: str, rejected: str) -> Comparison:
    return Comparison(
        prompt=chat(*prompt, system="S."),
        chosen=(Message(role="assistant", content=chosen),),
        rejected=(Message(role="assistant", content=rejected),),
        source="pairs.jsonl:4",
    )


def test_a_pair_shares_its_prompt_even_where_only_one_answer_is_too_long(tokenizer, chat, learnt):
    prompt = ("first", "b", "second")
    chosen, rejected = render_comparison(tokenizer, pair(chat, prompt, "y", "nnnnnn"), context=200)
    assert chosen.input_ids[: prompt_length(chosen)] == rejected.input_ids[: prompt_length(rejected)]
    assert (learnt(tokenizer, chosen), learnt(tokenizer, rejected)) == (["y<|im_end|>"], ["nnnnnn<|im_end|>"])
    room = len(rejected.input_ids) - 1
    assert len(chosen.input_ids) <= room
    chosen, rejected = render_comparison(tokenizer, pair(chat, prompt, "y", "nnnnnn"), context=room)
    assert (chosen.dropped, rejected.dropped, chosen.cut, rejected.cut) == (2, 2, 0, 0)
    assert tokenizer.decode(chosen.input_ids) == (
        "<|im_start|>system\nS.<|im_end|>\n<|im_start|>user\nsecond<|im_end|>\n"
        "<|im_start|>assistant\ny<|im_end|>\n"
    )


def test_a_pair_that_cutting_makes_equal_is_refused(tokenizer, chat):
    longer = pair(chat, ("a",), "1 2 3 4 5", "1 2 3 4 6")
    whole, _ = render_comparison(tokenizer, longer, context=200)
    message = r"pairs\.jsonl:4: the two answers are equal once cut to"
    with pytest.raises(DataError, match=message):
        render_comparison(tokenizer, longer, context=prompt_length(whole) + 4)


def test_one_text_where_the_template_allows_it(tokenizer, chat):
    messages = chat("a", "b", "c", "d")
    assert render_turns(tokenizer, messages, context=200) == [render(tokenizer, messages, context=200)]
