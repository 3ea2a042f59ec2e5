"""Text in blocks of the context."""

from __future__ import annotations

import pytest

from motet_alignment.data import read_text
from motet_alignment.errors import DataError


def test_documents_follow_each_other_in_whole_blocks(tokenizer, lines, tmp_path):
    book = tmp_path / "book.txt"
    book.write_text("Once upon a time.\nThe end.\n", encoding="utf-8")
    rows = lines({"text": "Second."}, {"text": "Third, and last.", "id": 3})
    blocks = read_text([book, rows], tokenizer, 7)
    end = tokenizer.eos_token_id
    wanted = []
    for document in ("Once upon a time.\nThe end.\n", "Second.", "Third, and last."):
        wanted += [*tokenizer(document, add_special_tokens=False)["input_ids"], end]
    assert [token for block in blocks for token in block] == wanted
    assert {len(block) for block in blocks[:-1]} == {7}
    assert 2 <= len(blocks[-1]) <= 7


def test_a_lone_last_token_is_dropped(tokenizer, lines):
    path = lines({"text": "abc"})
    count = len(tokenizer("abc", add_special_tokens=False)["input_ids"]) + 1
    assert [len(block) for block in read_text([path], tokenizer, count - 1)] == [count - 1]


def test_a_long_text_is_read_in_pieces_without_losing_any(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr("motet_alignment.data.text._PIECE", 10)
    path = tmp_path / "long.txt"
    written = "\n".join(f"line {place}" for place in range(40))
    path.write_text(written, encoding="utf-8")
    blocks = read_text([path], tokenizer, 16)
    assert tokenizer.decode([token for block in blocks for token in block][:-1]) == written


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b" \n", "a.txt is empty"),
        ("a.txt", b"a\xff", "a.txt: no valid UTF-8"),
        ("a.txt", b"a\0b", "a.txt: the text has a null byte at character 2"),
        ("a.jsonl", b'{"text": "a"}\n{"text": ""}\n{', "2 bad lines:"),
        ("a.jsonl", b'{"content": "a"}', "a.jsonl:1: key 'text' is missing or null"),
        ("a.jsonl", b"", "a.jsonl is empty"),
    ],
)
def test_bad_text_is_refused(tokenizer, tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError) as refused:
        read_text([path], tokenizer, 8)
    assert message in str(refused.value)


def test_missing_text_and_too_little_context(tokenizer, tmp_path):
    with pytest.raises(DataError, match=r"no\.txt can't be read: No such file"):
        read_text([tmp_path / "no.txt"], tokenizer, 8)
    with pytest.raises(DataError, match="at least 2 tokens, not 1"):
        read_text([tmp_path / "no.txt"], tokenizer, 1)
