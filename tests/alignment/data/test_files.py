"""Kinds of files, and what is wrong with them."""

from __future__ import annotations

import gzip
import json

import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest

from motet_alignment.data import Demonstration, read_examples
from motet_alignment.data.files import Limits, read_rows
from motet_alignment.errors import DataError

ROWS = [{"question": f"q{place}", "answer": f"ä{place}"} for place in range(3)]
TEXT = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)


def rows(path, limits: Limits | None = None):
    return list(read_rows(path, limits or Limits()))


@pytest.mark.parametrize(
    ("name", "content", "numbers"),
    [
        ("a.jsonl", TEXT.encode(), [1, 2, 3]),
        ("a.ndjson", b"\xef\xbb\xbf" + TEXT.encode(), [1, 2, 3]),
        ("a.jsonl", TEXT.replace("\n", "\r\n").encode().rstrip(), [1, 2, 3]),
        ("a.jsonl", b"\n" + TEXT.replace("\n", "\n\n").encode(), [2, 4, 6]),
        ("a.jsonl.gz", gzip.compress(TEXT.encode()), [1, 2, 3]),
        ("a.json", TEXT.encode(), [1, 2, 3]),
        ("a.json", json.dumps(ROWS).encode(), [1, 1, 1]),
        ("a.json", b"\xef\xbb\xbf" + json.dumps(ROWS, indent=1).encode(), [2, 6, 10]),
        ("a.JSON", json.dumps({"version": "1", "data": ROWS, "meta": {"n": [1]}}).encode(), [1, 1, 1]),
        ("a.json", json.dumps({"data": ROWS}, indent=1).encode(), [3, 7, 11]),
    ],
)
def test_rows_come_with_their_lines(tmp_path, name, content, numbers):
    path = tmp_path / name
    path.write_bytes(content)
    found = rows(path)
    assert [line.row for line in found] == ROWS
    assert [line.number for line in found] == numbers


def test_parquet_rows_are_numbered_and_null_is_absent(tmp_path):
    path = tmp_path / "a.parquet"
    turns = [
        {"role": "user", "content": "Ping?", "weight": None},
        {"role": "assistant", "content": "Pong.", "weight": 1},
    ]
    parquet.write_table(arrow.Table.from_pylist([{"messages": turns, "note": None}] * 2), path)
    examples = read_examples(path)
    assert [item.source for item in examples.items] == [f"{path}:1", f"{path}:2"]
    assert examples.files[0].unused == {}
    assert [turn.content for turn in next(examples.of(Demonstration)).messages] == ["Ping?", "Pong."]


def test_a_line_longer_than_the_limit_is_a_problem_and_the_next_is_read(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"question": "x" * 500, "answer": "y"}) + "\n" + TEXT, encoding="utf-8")
    found = rows(path, Limits(line_bytes=100))
    assert (found[0].row, found[0].reason) == (None, "the line is longer than 100 bytes")
    assert [(line.number, line.row) for line in found[1:]] == list(zip([2, 3, 4], ROWS, strict=True))


def test_a_line_of_just_the_limit_is_read(tmp_path):
    path = tmp_path / "a.jsonl"
    line = json.dumps(ROWS[0])
    path.write_text(line, encoding="utf-8")
    assert rows(path, Limits(line_bytes=len(line)))[0].row == ROWS[0]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"a,b\n", "unknown kind of file"),
        ("a.json", b'{"a": 1}', "it has no list"),
        ("a.json", b'{"a": [], "b": []}', "it has lists under 'a', 'b'"),
        ("a.json", b'"text"', "must hold a list of objects, not text"),
        ("a.json", b'[{"a": 1},\n {"a": }]', ":2: no valid JSON: Expecting value at column 8"),
        ("a.json", b'[{"a": 1}] []', ":1: no valid JSON: Extra data at column 12"),
        ("a.json", b"[" * 100_000, "no valid JSON: nested too deeply"),
        ("a.json", b'[{"a": "\xff"}]', "no valid UTF-8: invalid start byte at byte 9"),
        ("a.jsonl.gz", gzip.compress(TEXT.encode())[:-12], "can't be read"),
        ("a.jsonl.gz", b"no gzip at all", "can't be read"),
        ("a.parquet", b"PAR1 and no more", "can't be read as Parquet"),
    ],
)
def test_a_file_that_cannot_be_read_to_its_end_is_refused(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    for on_bad in ("refuse", "skip"):
        with pytest.raises(DataError) as refused:
            read_examples(path, on_bad=on_bad)
        assert str(path) in str(refused.value)
        assert message in str(refused.value)


def test_bad_bytes_are_a_problem_of_their_line(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(TEXT.encode() + b'{"question": "\xff", "answer": "a"}\n')
    with pytest.raises(DataError, match=r"a\.jsonl:4: no valid UTF-8: invalid start byte at byte 15"):
        read_examples(path)


def test_utf_16_is_called_by_its_name(tmp_path):
    for name in ("a.jsonl", "b.json"):
        (tmp_path / name).write_text(json.dumps(ROWS), encoding="utf-16")
        with pytest.raises(DataError, match=r"no valid UTF-8: .*UTF-16, save it as UTF-8"):
            read_examples(tmp_path / name)


def test_an_element_that_is_no_object_is_a_problem_of_its_line(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps([*ROWS, 7, {"question": "q", "answer": "a"}], indent=0), encoding="utf-8")
    examples = read_examples(path, on_bad="skip")
    assert [(problem.line, problem.reason) for problem in examples.problems] == [
        (14, "the row must be an object, not a number")
    ]
    assert len(examples) == 4


def test_files_larger_than_the_limit_are_refused(tmp_path):
    plain, packed = tmp_path / "a.jsonl", tmp_path / "b.jsonl.gz"
    plain.write_text(TEXT * 100, encoding="utf-8")
    packed.write_bytes(gzip.compress((TEXT * 100).encode()))
    table = tmp_path / "c.parquet"
    parquet.write_table(arrow.Table.from_pylist(ROWS * 500), table, use_dictionary=False, compression="zstd")
    limits = Limits(file_bytes=2000)
    with pytest.raises(
        DataError, match=r"c\.parquet unpacks to more than 2,000 bytes|larger than 2,000 bytes"
    ):
        read_examples(table, limits=limits)
    with pytest.raises(DataError, match="is larger than 2,000 bytes"):
        read_examples(plain, limits=limits)
    with pytest.raises(DataError, match="unpacks to more than 2,000 bytes"):
        read_examples(packed, limits=limits)


def test_a_value_that_a_parquet_file_repeats_counts_every_time(tmp_path):
    path, limits = tmp_path / "a.parquet", Limits(file_bytes=2**20)
    repeated = arrow.DictionaryArray.from_arrays(arrow.array([0] * 3000), arrow.array(["x" * 10_000]))
    for column in (repeated, repeated.cast(arrow.string())):
        parquet.write_table(arrow.table({"text": column}), path)
        assert path.stat().st_size < limits.file_bytes / 10
        with pytest.raises(DataError, match=r"a\.parquet unpacks to more than 1,048,576 bytes"):
            list(read_rows(path, limits))


@pytest.mark.parametrize("depth", [900, 100_000])
def test_nesting_that_python_cannot_follow_is_a_problem_of_its_line(tmp_path, depth):
    nested = b'{"a":' * depth + b"1" + b"}" * depth
    for name in ("a.jsonl", "b.json"):
        (tmp_path / name).write_bytes(b'{"a": 1}\n' + nested + b'\n{"a": 2}\n')
        found = list(read_rows(tmp_path / name, Limits()))
        assert [line.row for line in found] == [{"a": 1}, None, {"a": 2}]
        assert found[1].reason == "no valid JSON: nested too deeply"
    (tmp_path / "c.json").write_bytes(nested)
    with pytest.raises(DataError, match=r"c\.json: no valid JSON: nested too deeply|no list"):
        list(read_rows(tmp_path / "c.json", Limits()))


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(DataError, match=r"nothing\.jsonl does not exist"):
        read_examples(tmp_path / "nothing.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(DataError, match="is a folder"):
        read_examples(tmp_path / "folder.jsonl")
