"""Rows of JSON, JSON lines and Parquet files, one at a time and each with its line."""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from pydantic import BaseModel, ConfigDict, Field

from motet_alignment.data.values import Malformed, clean, kind_of, mapping
from motet_alignment.errors import DataError

SUFFIXES = (".json", ".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz", ".parquet")
_JSON_SPACE = " \t\r\n"
#: Rows of a Parquet file that are unpacked at a time, at most.
_ROWS = 1024
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_TOO_DEEP = "no valid JSON: nested too deeply"


class Limits(BaseModel):
    """How much of a file may lie in memory."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    line_bytes: int = Field(default=16 * 2**20, gt=0, description="Longest line of a JSON lines file.")
    file_bytes: int = Field(
        default=2 * 2**30, gt=0, description="Largest file, unpacked; its examples are held in memory."
    )


class Line(NamedTuple):
    """One row, or why there is none."""

    number: int
    row: dict[str, Any] | None
    reason: str = ""


def read_rows(path: Path, limits: Limits) -> Iterator[Line]:
    """The rows of `path` in order; blank lines are passed over.

    Raises `DataError` for a file that can't be read, or can't be read to its end: what comes after a syntax error
    in a .json file is nobody's guess.
    """
    name = path.name.lower()
    if not name.endswith(SUFFIXES):
        raise DataError(f"{path}: unknown kind of file; can read {', '.join(SUFFIXES)}")
    if path.is_dir():
        raise DataError(f"{path} is a folder; name the files in it")
    try:
        size = path.stat().st_size
        if size > limits.file_bytes:
            raise DataError(f"{path} is larger than {limits.file_bytes:,} bytes; split it")
        if name.endswith(".parquet"):
            yield from _parquet(path, limits)
        elif name.endswith(".gz"):
            with gzip.open(path) as file:
                yield from _lines(path, cast(IO[bytes], file), limits)
        elif name.endswith(".json") and not _holds_lines(path):
            yield from _json(path)
        else:
            with path.open("rb") as file:
                yield from _lines(path, file, limits)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} can't be read: {error}") from None


def _lines(path: Path, file: IO[bytes], limits: Limits) -> Iterator[Line]:
    number = total = 0
    while raw := file.readline(limits.line_bytes + 1):
        number += 1
        total += len(raw)
        if len(raw) > limits.line_bytes and not raw.endswith(b"\n"):
            while raw and not raw.endswith(b"\n"):
                raw = file.readline(limits.line_bytes)
                total += len(raw)
            yield Line(number, None, f"the line is longer than {limits.line_bytes:,} bytes")
        else:
            if number == 1:
                raw = raw.removeprefix(b"\xef\xbb\xbf")
            if raw.strip():
                yield _row(number, raw)
        if total > limits.file_bytes:
            raise DataError(
                f"{path}:{number}: the file unpacks to more than {limits.file_bytes:,} bytes; split it"
            )


def _row(number: int, raw: bytes) -> Line:
    try:
        content = raw.decode().rstrip()
    except UnicodeDecodeError as error:
        hint = "; the file is UTF-16, save it as UTF-8" if number == 1 and raw[:2] in _UTF16 else ""
        return Line(number, None, f"no valid UTF-8: {error.reason} at byte {error.start + 1}{hint}")
    decoder = _Decoder()
    try:
        value = decoder.decode(content)
    except json.JSONDecodeError as error:
        return Line(number, None, f"no valid JSON: {error.msg} at column {error.colno}")
    except ValueError as error:
        return Line(number, None, f"no valid JSON: {error}")
    except RecursionError:
        return Line(number, None, _TOO_DEEP)
    return _checked(number, value, decoder)


def _checked(number: int, value: Any, decoder: _Decoder | None = None) -> Line:
    try:
        if decoder is not None and decoder.faults:
            raise Malformed(decoder.faults[0])
        return Line(number, dict(clean(mapping(value, "the row"))))
    except Malformed as error:
        return Line(number, None, str(error))
    except RecursionError:
        return Line(number, None, _TOO_DEEP)


class _Decoder(json.JSONDecoder):
    """Keeps going where JSON's grammar allows what we don't, and remembers it in `faults`."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        super().__init__(object_pairs_hook=self._object, parse_constant=self._constant)

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            twice = next(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
            self.faults.append(f"key {twice!r} stands twice in one object")
        return result

    def _constant(self, name: str) -> float:
        self.faults.append(f"{name} is no JSON number")
        return 0.0


def _holds_lines(path: Path) -> bool:
    """Whether a .json file is JSON lines after all: a whole object on the first line, and more behind it."""
    with path.open("rb") as file:
        first = file.readline(Limits().line_bytes).removeprefix(b"\xef\xbb\xbf")
        if not first.lstrip().startswith(b"{"):
            return False
        try:
            json.loads(first)
        except (ValueError, RecursionError):
            return False
        return any(line.strip() for line in file)


def _json(path: Path) -> Iterator[Line]:
    """The objects of the file's list, or of the one list that its object holds."""
    try:
        content = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        hint = "; it is UTF-16, save it as UTF-8" if error.object[:2] in _UTF16 else ""
        raise DataError(f"{path}: no valid UTF-8: {error.reason} at byte {error.start + 1}{hint}") from None
    start = _skip(content, 0)
    if start == len(content):
        return
    try:
        if content[start] == "[":
            yield from _elements(content, start)
        elif content[start] == "{":
            yield from _elements(content, _only_list(path, content, start))
        else:
            raise DataError(f"{path}: must hold a list of objects, not {kind_of(json.loads(content))}")
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}:{error.lineno}: no valid JSON: {error.msg} at column {error.colno}"
        ) from None
    except RecursionError:
        raise DataError(f"{path}: {_TOO_DEEP}") from None


def _elements(content: str, start: int) -> Iterator[Line]:
    """Decodes one element at a time, because json.loads keeps no positions."""
    _whole(content)
    line, counted = 1, 0
    place = _skip(content, start + 1)
    while content[place] != "]":
        line, counted = line + content.count("\n", counted, place), place
        decoder = _Decoder()
        value, place = decoder.raw_decode(content, place)
        yield _checked(line, value, decoder)
        place = _skip(content, place)
        if content[place] == ",":
            place = _skip(content, place + 1)


def _only_list(path: Path, content: str, start: int) -> int:
    """Where the list begins that is the one list of the file's object."""
    _whole(content)
    found: dict[str, int] = {}
    place = _skip(content, start + 1)
    while content[place] != "}":
        key, place = json.JSONDecoder().raw_decode(content, place)
        place = _skip(content, _skip(content, place) + 1)
        if content[place] == "[":
            found[key] = place
        _, place = json.JSONDecoder().raw_decode(content, place)
        place = _skip(content, place)
        if content[place] == ",":
            place = _skip(content, place + 1)
    if len(found) == 1:
        return found.popitem()[1]
    holds = f"lists under {', '.join(map(repr, found))}" if found else "no list"
    raise DataError(f"{path}: must hold a list of objects, or an object with one list; it has {holds}")


def _whole(content: str) -> None:
    """Raises JSONDecodeError at the first syntax error, so that what follows may rely on the grammar."""
    try:
        json.loads(content)
    except json.JSONDecodeError:
        raise
    except ValueError as error:
        raise json.JSONDecodeError(str(error), content, 0) from None


def _skip(content: str, place: int) -> int:
    while place < len(content) and content[place] in _JSON_SPACE:
        place += 1
    return place


def _parquet(path: Path, limits: Limits) -> Iterator[Line]:
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    try:
        with parquet.ParquetFile(path) as file:
            groups = [file.metadata.row_group(group) for group in range(file.metadata.num_row_groups)]
            too_large = DataError(f"{path} unpacks to more than {limits.file_bytes:,} bytes; split it")
            if sum(group.total_byte_size for group in groups) > limits.file_bytes:
                raise too_large
            # A value is written once however many rows repeat it, so that the sum says little of what comes out; but
            # none is larger than its group, which bounds what one batch may come to.
            largest = max((group.total_byte_size for group in groups), default=0)
            rows = max(1, min(_ROWS, limits.file_bytes // max(1, largest)))
            number = total = 0
            for batch in file.iter_batches(batch_size=rows):
                for row in batch.to_pylist():
                    number += 1
                    total += _size(row)
                    if total > limits.file_bytes:
                        raise too_large
                    yield _checked(number, row)
    except (arrow.ArrowException, UnicodeDecodeError) as error:
        raise DataError(f"{path} can't be read as Parquet: {error}") from None


def _size(value: Any) -> int:
    """About how many bytes a row's values come to."""
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_size, value.values()))
    return sum(map(_size, value)) if isinstance(value, list) else 8
