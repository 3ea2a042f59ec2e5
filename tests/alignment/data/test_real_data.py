"""Real data sets through inspection, where they stand beside the repository; none of their text is here."""

from __future__ import annotations

import pytest

from motet_alignment.data import FilterSettings, read_examples, render_turns
from motet_alignment.data.inspect import inspect_file


@pytest.mark.parametrize(
    ("name", "shape", "kind", "examples"),
    [
        ("gsm8k/train_300.jsonl", "question-answer", "demonstration", 300),
        ("seed_tasks/seed_tasks.jsonl", "seed-tasks", "demonstration", 175),
        ("preference/pairs.jsonl", "pairs", "comparison", 283),
    ],
)
def test_inspect(shared_data, tokenizer, name, shape, kind, examples):
    filters = FilterSettings(near_duplicates=0.8)
    found = inspect_file(shared_data(name), tokenizer, context=8192, filters=filters)
    assert (found.shape, found.kind, found.examples, found.problem_count) == (shape, kind, examples, 0)
    assert (found.fit.shortened, found.fit.cut, found.fit.refused) == (0, 0, 0)
    answers = examples * (2 if kind == "comparison" else 1)
    assert found.turns == {"user": answers, "assistant": answers}
    assert sum(count for _, _, count in found.conversations.histogram) == answers
    assert sum(found.filters.values()) < examples / 10


def test_every_answer_is_learnt_word_for_word(shared_data, tokenizer, learnt):
    examples = read_examples(shared_data("gsm8k/train_300.jsonl"))
    rendered = [
        text for item in examples.items for text in render_turns(tokenizer, item.messages, context=2048)
    ]
    assert [learnt(tokenizer, text) for text in rendered] == [
        [item.messages[-1].content + "<|im_end|>"] for item in examples.items
    ]
