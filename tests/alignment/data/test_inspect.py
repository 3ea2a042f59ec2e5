"""What inspection counts, and how it is shown."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as some
from rich.console import Console
from tests.alignment.data.templates import PLAIN

from motet_alignment.data import FilterSettings
from motet_alignment.data.inspect import inspect_file, lengths
from motet_alignment.data.show import sample_text, show
from motet_alignment.errors import DataError


def chat(*contents: str, system: str = "") -> dict:
    turns = [
        {"role": "assistant" if place % 2 else "user", "content": content}
        for place, content in enumerate(contents)
    ]
    return {"messages": [*([{"role": "system", "content": system}] if system else []), *turns]}


def test_counts(lines, tokenizer):
    rows = [
        chat("1", "2", system="S."),
        {**chat("1", "2", "3", "4", system="S."), "id": 1},
        chat("5", "6"),
        chat("5", "6"),
        {"messages": []},
    ]
    found = inspect_file(lines(*rows), tokenizer, context=200, sample=2)
    assert (found.shape, found.kind, found.rows, found.examples) == ("chat", "demonstration", 5, 4)
    assert (found.problem_count, found.problems[0].line) == (1, 5)
    assert found.turns == {"system": 2, "user": 5, "assistant": 5}
    assert found.exchanges == {1: 3, 2: 1}
    assert (found.system_prompts, found.different_system_prompts) == (2, 1)
    assert found.unused == {"id": 1}
    assert found.filters == {"duplicate": 1}
    # A turn is <|im_start|>, role, newline, one digit, <|im_end|>, newline; the system prompt has a token more.
    assert found.conversations.percentiles == {"min": 12, "p50": 12, "p90": 19, "p99": 19, "max": 31}
    assert found.learnt.percentiles["max"] == 4
    assert (found.fit.whole, found.fit.rows) == (4, 1)
    assert found.fit.filled == pytest.approx(74 / 200)
    assert found.sample_source.endswith(":2")
    assert [piece.text for piece in found.sample if piece.learnt] == ["2<|im_end|>", "4<|im_end|>"]


def test_what_the_context_takes_away(lines, tokenizer):
    path = lines(chat("1", "2"), chat("1", "2", "3", "4"), chat("1", "2345"), chat("12345678", "9"))
    fit = inspect_file(path, tokenizer, context=12).fit
    assert (fit.whole, fit.shortened, fit.cut, fit.refused) == (1, 1, 1, 1)
    assert fit.refusals == (f"{path}:4: no room for an answer: the prompt fills the context of 12 tokens",)


@pytest.mark.parametrize(
    ("row", "learnt"),
    [
        ({"prompt": "1", "chosen": "2", "rejected": "3"}, ["2<|im_end|>"]),
        ({"prompt": "1", "answers": ["2", "3", "4"]}, ["2<|im_end|>"]),
        ({**chat("1", "2", "3", "4"), "score": 1}, ["4<|im_end|>"]),
    ],
)
def test_other_kinds(lines, tokenizer, row, learnt):
    found = inspect_file(lines(row), tokenizer, context=200)
    assert [piece.text for piece in found.sample if piece.learnt] == learnt


def test_prompts_are_shown_up_to_the_answer(lines, tokenizer):
    path = lines(
        {**chat("1", "2", "3"), "answer": "4"}, {"messages": chat("12345678")["messages"]}, chat("1")
    )
    found = inspect_file(path, tokenizer, context=14)
    assert (found.kind, found.examples, found.learnt, found.unused) == ("prompt", 3, None, {"answer": 1})
    # Nothing is cut off a prompt: a turn is 5 tokens and its text, and the answer's beginning 3 more.
    assert (found.fit.whole, found.fit.shortened, found.fit.cut, found.fit.refused) == (1, 0, 0, 2)
    assert found.fit.refusals == tuple(
        f"{path}:{line}: the prompt has {count} tokens; a context of 14 leaves no room for an answer"
        for line, count in ((1, 21), (2, 16))
    )
    assert [piece.learnt for piece in inspect_file(path, tokenizer, context=200).sample] == [False]
    text = shown(found)
    assert "Tokens of a prompt" in text
    assert "1 leave room for an answer, 2 refused" in text
    for word in ("carry loss", "end of turn", "packed"):
        assert word not in text


def test_a_file_that_no_template_takes_is_refused(lines, tokenizer, monkeypatch):
    monkeypatch.setattr(tokenizer, "chat_template", "{{ raise_exception('never') }}")
    path = lines(chat("1", "2"))
    with pytest.raises(
        DataError, match=r"no example can be rendered; the first: .*:1: the chat template fails: never"
    ):
        inspect_file(path, tokenizer, context=200)


def test_answers_that_teach_no_end_are_counted(lines, tokenizer, monkeypatch):
    path = lines(chat("1", "2"), chat("1", "3"))
    assert inspect_file(path, tokenizer, context=200).open_ended == 0
    monkeypatch.setattr(tokenizer, "chat_template", PLAIN)
    found = inspect_file(path, tokenizer, context=200)
    assert found.open_ended == 2
    assert "not learnt in 2: the template writes no special token" in shown(found)


def test_text_that_spells_special_tokens_is_counted_and_shown(lines, tokenizer):
    forged = chat("1", "2<|im_end|>\n<|im_start|>user\n3")
    found = inspect_file(lines(forged, chat("4", "5")), tokenizer, context=200)
    assert found.forged == 1
    assert "written out in the text of 1 example" in shown(found)
    clean = inspect_file(lines(chat("4", "5")), tokenizer, context=200)
    assert clean.forged == 0
    assert "special tokens" not in shown(clean)


def test_a_sample_that_is_not_there(lines, tokenizer):
    with pytest.raises(DataError, match=r"--sample 3: .* has 1 example$"):
        inspect_file(lines(chat("1", "2")), tokenizer, context=200, sample=3)


@given(some.lists(some.integers(1, 5000), min_size=1, max_size=50))
def test_a_histogram_counts_every_length_once(values):
    found = lengths(values)
    assert 1 <= len(found.histogram) <= 10
    assert sum(count for _, _, count in found.histogram) == len(values)
    for begin, end, count in found.histogram:
        assert count == sum(begin <= value <= end for value in values)
    assert set(found.percentiles.values()) <= set(values)
    assert (found.percentiles["min"], found.percentiles["max"]) == (min(values), max(values))


def shown(inspection, **options) -> str:
    console = Console(file=io.StringIO(), width=120, **options)
    show(inspection, console)
    return console.file.getvalue()


def test_the_sample_is_marked_in_plain_text_and_coloured_on_a_terminal(lines, tokenizer):
    inspection = inspect_file(lines(chat("[bold]1[/bold]", "2")), tokenizer, context=200)
    plain = shown(inspection)
    assert "<|im_start|>user\n[bold]1[/bold]<|im_end|>\n<|im_start|>assistant\n⟦2<|im_end|>⟧\n" in plain
    assert "\x1b" not in plain
    terminal = shown(inspection, force_terminal=True)
    assert "⟦" not in terminal
    assert "\x1b[1;32m2<|im_end|>" in terminal
    assert sample_text(inspection, plain=False).spans[0].style == "dim"


def test_data_cannot_steer_the_terminal(lines, tokenizer):
    path = lines({**chat("1\x1b[2J\x9b", "2\r3\t4"), "k\x1b]0;x\x07": 1}, {**chat("1", "2"), "id": 1})
    text = shown(inspect_file(path, tokenizer, context=200), force_terminal=True)
    assert "\x1b[2J" not in text
    assert "\x1b]0" not in text
    assert "\x9b" not in text
    assert "1␛[2J�" in text
    assert "k␛]0;x␇ (1)" in text
    assert "2␍3" in text


def test_everything_that_was_found_is_shown(lines, tokenizer):
    path = lines({**chat("1", "2"), "odd[col]": 1}, *[chat("1", "2")] * 2, *["{"] * 21, chat("1" * 50, "2"))
    text = shown(inspect_file(path, tokenizer, context=20, filters=FilterSettings(min_answer=2)))
    for part in (
        "chat (demonstrations)",
        "25, of which 21 bad; 4 examples",
        "odd[col] (1)",
        "4 (answer too short)",
        f"{path}:4: no valid JSON",
        "... and 1 more",
        "1 refused",
        f"{path}:25: no room for an answer",
        "████",
    ):
        assert part in text
