"""From examples to samples: nothing leaks from what is held out, too long ones are cut and counted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet_alignment.data import Comparison, Demonstration, Message, Ranking, Rating
from motet_alignment.errors import DataError
from motet_alignment.train.samples import Rendering, make_samples, prompt_key, split, without_prompts_of
from motet_models import EXPERT


def said(question: str, answer: str = "yes") -> Demonstration:
    return Demonstration(
        messages=(Message(role="user", content=question), Message(role="assistant", content=answer)),
        source=f"here:{question}",
    )


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.floats(0, 0.9), st.integers(0, 5))
def test_what_asks_the_same_stays_together(questions, share, seed):
    items = [said(str(question), f"answer {place}") for place, question in enumerate(questions)]
    train, held = split(items, share, seed)
    assert sorted(item.messages[1].content for item in [*train, *held]) == sorted(
        item.messages[1].content for item in items
    )
    assert {prompt_key(item) for item in train}.isdisjoint(prompt_key(item) for item in held)
    assert train
    assert bool(held) == (share > 0 and len(set(questions)) > 1)
    assert (train, held) == split(items, share, seed)


def test_the_share_that_is_held_out():
    items = [said(str(place)) for place in range(200)]
    assert len(split(items, 0.1, 0)[1]) == 20
    assert split(items, 0.1, 0)[1] != split(items, 0.1, 1)[1]


def test_examples_that_ask_what_the_evaluation_asks():
    items = [said("a"), said("b"), said("a", "no")]
    assert without_prompts_of(items, [said("a", "perhaps")]) == [items[1]]


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(EXPERT)


def test_each_kind_of_example(tokenizer):
    ask = (Message(role="user", content="Which?"),)
    one, two, three = ((Message(role="assistant", content=word),) for word in ("first", "second", "third"))
    rendering = Rendering()
    comparison, ranking, rating = make_samples(
        [
            Comparison(prompt=ask, chosen=one, rejected=two, margin=0.5, confidence=0.8, source="here:1"),
            Ranking(prompt=ask, answers=(two, one, three), source="here:2"),
            Rating(messages=(*ask, *three), score=-2.5, source="here:3"),
        ],
        tokenizer,
        64,
        rendering=rendering,
    )

    def marked(text) -> str:
        return tokenizer.decode([token for token, mark in zip(text.ids, text.mask, strict=True) if mark])

    assert [marked(text) for text in comparison.texts] == ["first<|im_end|>", "second<|im_end|>"]
    assert (comparison.margin, comparison.confidence) == (0.5, 0.8)
    assert [marked(text) for text in ranking.texts] == [
        "second<|im_end|>",
        "first<|im_end|>",
        "third<|im_end|>",
    ]
    assert rating.score == -2.5
    assert tokenizer.decode(rating.texts[0].ids) == tokenizer.apply_chat_template(
        [
            {"role": "user", "content": "Which?"},
            {"role": "assistant", "content": "third"},
        ],
        tokenize=False,
    )
    assert rendering.shortened == 0


def test_long_conversations_are_cut_and_counted(tokenizer):
    rendering = Rendering()
    (long,) = make_samples([said("What?", "word " * 100)], tokenizer, 32, rendering=rendering)
    assert len(long.texts[0].ids) == 32
    assert rendering.shortened == 1


def test_what_has_no_room_is_an_error_or_left_out(tokenizer):
    items = [said("word " * 100), said("What?")]
    with pytest.raises(DataError, match="here:word"):
        make_samples(items, tokenizer, 32, rendering=Rendering())
    rendering = Rendering()
    assert len(make_samples(items, tokenizer, 32, rendering=rendering, skip=True)) == 1
    assert "here:word" in rendering.left_out[0]
