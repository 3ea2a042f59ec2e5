"""Which shape a file has, and how whole files are refused."""

from __future__ import annotations

import hashlib

import pytest

from motet_alignment.data import Demonstration, Rating, read_examples
from motet_alignment.errors import DataError

CHAT = {"messages": [{"role": "user", "content": "Ping?"}, {"role": "assistant", "content": "Pong."}]}
PAIR = {"prompt": "Ping?", "chosen": "Pong.", "rejected": "Bang."}
ALPACA = {"instruction": "Ping?", "output": "Pong."}


def refusal(*paths, **options) -> str:
    with pytest.raises(DataError) as refused:
        read_examples(*paths, **options)
    return str(refused.value)


def test_files_are_read_in_order_with_their_hashes(lines):
    first, second = lines(CHAT, name="a.jsonl"), lines(ALPACA, ALPACA, name="b.jsonl")
    examples = read_examples(first, str(second))
    assert [item.source for item in examples.items] == [f"{first}:1", f"{second}:1", f"{second}:2"]
    assert examples.shape == "chat, alpaca"
    assert examples.sha256 == {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in (first, second)
    }
    assert [(file.rows, file.examples) for file in examples.files] == [(1, 1), (2, 2)]


def test_progress_counts_rows(lines):
    seen: list[int] = []
    read_examples(lines(CHAT, CHAT, CHAT), progress=seen.append)
    assert seen == [1, 1, 1]


def test_columns_without_use_are_counted(lines):
    row = {"messages": [{**CHAT["messages"][0], "name": "Ann"}, CHAT["messages"][1]], "id": 7}
    assert read_examples(lines(row, CHAT, row)).files[0].unused == {"id": 2, "messages[].name": 2}


def test_twenty_problems_are_spelt_out_and_all_are_counted(lines):
    path = lines(CHAT, *["{"] * 25)
    message = refusal(path)
    assert message.startswith("25 bad lines:\n")
    assert message.count(str(path)) == 20
    assert f"{path}:21: " in message
    assert f"{path}:22: " not in message
    assert message.endswith("... and 5 more")
    assert len(read_examples(path, on_bad="skip").problems) == 25


def test_problems_of_every_file_are_listed_at_once(lines):
    first, second = lines(CHAT, "{", name="a.jsonl"), lines("{", CHAT, name="b.jsonl")
    message = refusal(first, second)
    assert f"{first}:2: " in message
    assert f"{second}:1: " in message


@pytest.mark.parametrize("on_bad", ["refuse", "skip"])
def test_a_file_without_a_usable_line_is_refused(lines, on_bad):
    bad = {"messages": []}
    path, broken = lines(bad, bad), lines("{", "}", name="broken.jsonl")
    assert f"{path}:2: messages is an empty list" in refusal(path, on_bad=on_bad)
    assert f"{broken}: no line can be read" in refusal(broken, on_bad=on_bad)


def test_an_empty_file_is_refused(lines):
    path = lines()
    assert refusal(path) == f"{path} is empty"
    assert refusal(lines("", "  ", name="blank.jsonl")).endswith("is empty")
    assert refusal() == "no data file was given"


def test_a_file_given_twice_is_refused(lines, tmp_path):
    path = lines(CHAT)
    link = tmp_path / "link.jsonl"
    link.symlink_to(path)
    assert refusal(path, link) == f"{link} was given twice"


def test_a_mixed_file_is_refused_with_its_lines(lines):
    path = lines(CHAT, PAIR, CHAT, PAIR, PAIR)
    message = refusal(path)
    assert message.startswith(f"{path}: mixes shapes: chat on lines 1, 3; pairs on lines 2, 4, 5")
    assert refusal(path, on_bad="skip") == message


@pytest.mark.parametrize("on_bad", ["refuse", "skip"])
def test_a_file_that_turns_mixed_later_is_refused_too(lines, on_bad):
    for other, name in ((PAIR, "pairs"), ({**CHAT, "score": 1}, "ratings")):
        path = lines("{", *[CHAT] * 1500, other)
        message = refusal(path, on_bad=on_bad)
        assert message.startswith(f"{path}: mixes shapes: chat on line 2; {name} on line 1502")


def test_an_ambiguous_file_wants_its_shape_named(lines):
    path = lines({**PAIR, **CHAT})
    assert refusal(path) == f"{path}:1: ambiguous, may be chat or pairs; say which with --shape"
    assert read_examples(path, shape="chat").kind == "demonstration"
    assert read_examples(path, kind="comparison").shape == "pairs"


def test_the_shape_that_asks_for_more_columns_wins(lines):
    row = {**CHAT, "score": 3}
    assert [item.score for item in read_examples(lines(row)).of(Rating)] == [3]
    assert len(list(read_examples(lines(row), kind="demonstration").of(Demonstration))) == 1


def test_a_named_shape_is_kept_to(lines):
    path = lines(ALPACA)
    assert "key 'messages' is missing or null (chat)" in refusal(path, shape="chat")
    assert "no shape is called 'csv'; there are chat, " in refusal(path, shape="csv")
    assert (
        refusal(path, shape="pairs", kind="demonstration")
        == "shape 'pairs' holds comparisons; this needs demonstrations"
    )


def test_kinds_are_not_mixed_or_mistaken(lines):
    chat, pair = lines(CHAT, name="chat.jsonl"), lines(PAIR, name="pair.jsonl")
    assert refusal(chat, pair) == f"files of different kinds: {chat} holds demonstrations, {pair} comparisons"
    assert (
        refusal(pair, kind="demonstration")
        == f"{pair}:1: holds comparisons (pairs); this needs demonstrations"
    )


def test_an_unknown_shape_lists_what_there_is(lines):
    path = lines({"foo": 1, "bar": 2})
    message = refusal(path)
    assert message.startswith(f"{path}:1: unknown shape, columns bar, foo. ")
    assert "alpaca: instruction, output" in message
    assert "plain text (column text)" in refusal(lines({"text": "Once upon a time."}, name="text.jsonl"))
