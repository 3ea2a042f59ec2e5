"""Conversion keeps every example, and the written file is read as the same examples."""

from __future__ import annotations

import os
import stat

import pytest

from motet_alignment.data import read_examples
from motet_alignment.data.convert import convert
from motet_alignment.errors import DataError

USER, ANSWER = {"role": "user", "content": "Pïng?"}, {"role": "assistant", "content": "Pong."}
ROWS = {
    "chat": [
        {"messages": [USER, {**ANSWER, "weight": 0}, USER, ANSWER]},
        {"instruction": "Add.", "input": "1, 2", "output": "3"},
        {"messages": [USER, ANSWER], "score": 0.5},
    ],
    "pairs": [
        {"prompt": "Pïng?", "chosen": "Pong.", "rejected": "Bang.", "margin": 2.0},
        {
            "input": {"messages": [USER]},
            "preferred_output": [ANSWER],
            "non_preferred_output": [{**ANSWER, "content": "No."}],
            "confidence": 0.75,
        },
    ],
}


@pytest.mark.parametrize(("to", "row"), [(to, row) for to, rows in ROWS.items() for row in rows])
def test_there_and_back(lines, tmp_path, to, row):
    examples = read_examples(lines(row))
    out = tmp_path / "out.jsonl"
    assert convert(examples, to, out) == 1
    again = read_examples(out)
    assert again.kind == examples.kind
    assert [item.model_copy(update={"source": ""}) for item in again.items] == [
        item.model_copy(update={"source": ""}) for item in examples.items
    ]
    assert read_examples(out, shape={"rating": "ratings"}.get(again.kind, to)).files[0].unused == {}


def test_a_ranking_is_every_pair_of_it(lines, tmp_path):
    examples = read_examples(lines({"prompt": "a", "answers": ["x", "y", "z"], "scores": [2, 3, 1]}))
    out = tmp_path / "out.jsonl"
    assert convert(examples, "pairs", out) == 3
    found = [(item.chosen[0].content, item.rejected[0].content) for item in read_examples(out).items]
    assert found == [("y", "x"), ("y", "z"), ("x", "z")]


def test_what_a_target_cannot_hold(lines, tmp_path):
    chat, pairs = (
        read_examples(lines(ROWS["chat"][0])),
        read_examples(lines(ROWS["pairs"][0], name="p.jsonl")),
    )
    with pytest.raises(
        DataError, match="--to pairs holds comparisons and rankings; the data holds demonstrations"
    ):
        convert(chat, "pairs", tmp_path / "out.jsonl")
    with pytest.raises(
        DataError, match="--to chat holds demonstrations and ratings; the data holds comparisons"
    ):
        convert(pairs, "chat", tmp_path / "out.jsonl")
    with pytest.raises(DataError, match=r"must end in \.jsonl"):
        convert(chat, "chat", tmp_path / "out.json")
    assert not (tmp_path / "out.jsonl").exists()


def test_a_file_that_exists_stays_unless_forced(lines, tmp_path):
    examples, out = read_examples(lines(ROWS["chat"][0])), tmp_path / "out.jsonl"
    out.write_text("mine", encoding="utf-8")
    with pytest.raises(DataError, match=r"out\.jsonl exists; --force replaces it"):
        convert(examples, "chat", out)
    assert out.read_text(encoding="utf-8") == "mine"
    convert(examples, "chat", out, force=True)
    assert len(read_examples(out)) == 1


def test_nothing_is_left_of_a_write_that_fails(lines, tmp_path):
    examples = read_examples(lines(ROWS["chat"][0]))
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "out.jsonl").write_text("mine", encoding="utf-8")

    def fail(_steps: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(examples, "chat", folder / "out.jsonl", force=True, progress=fail)
    assert [path.name for path in folder.iterdir()] == ["out.jsonl"]
    assert (folder / "out.jsonl").read_text(encoding="utf-8") == "mine"
    with pytest.raises(DataError, match="can't be written: No such file or directory"):
        convert(examples, "chat", tmp_path / "none" / "out.jsonl")


def test_the_file_has_the_rights_that_any_new_file_has(lines, tmp_path):
    out, plain = tmp_path / "out.jsonl", tmp_path / "plain"
    convert(read_examples(lines(ROWS["chat"][0])), "chat", out)
    plain.touch()
    assert stat.S_IMODE(os.stat(out).st_mode) == stat.S_IMODE(os.stat(plain).st_mode)
