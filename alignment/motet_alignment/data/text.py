"""Plain text to go on learning a language from, beside the instructions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from motet_alignment.data.files import Limits, read_rows
from motet_alignment.data.items import Problem
from motet_alignment.data.read import summary
from motet_alignment.data.template import token_ids
from motet_alignment.data.values import Malformed, clean, text
from motet_alignment.errors import DataError

#: How much of a .txt file is tokenized at once, in characters.
_PIECE = 2**20


def read_text(
    paths: Sequence[str | PathLike[str]], tokenizer: Any, context: int, *, limits: Limits | None = None
) -> list[list[int]]:
    """Blocks of exactly `context` token ids, and a shorter last one, from .txt files and files with a column `text`.

    A .txt file is one document, a row of JSON, JSON lines or Parquet another. Documents follow each other with the
    tokenizer's end-of-text token behind each. A lone token left over at the end is dropped, for it predicts nothing.
    Raises `DataError` that lists the bad lines, or for an empty file.
    """
    if tokenizer.eos_token_id is None:
        raise DataError(
            f"the tokenizer of {tokenizer.name_or_path} has no end-of-text token to put between documents"
        )
    if context < 2:
        raise DataError(f"a block of text needs a context of at least 2 tokens, not {context}")
    blocks: list[list[int]] = []
    rest: list[int] = []
    for path in map(Path, paths):
        for piece, ends in _pieces(path, limits or Limits()):
            rest += token_ids(tokenizer, piece)
            if ends:
                rest.append(tokenizer.eos_token_id)
            whole = len(rest) - len(rest) % context
            blocks += [rest[begin : begin + context] for begin in range(0, whole, context)]
            rest = rest[whole:]
    return [*blocks, rest] if len(rest) > 1 else blocks


def _pieces(path: Path, limits: Limits) -> Iterator[tuple[str, bool]]:
    """Parts of documents, and whether each is the last of its document."""
    if path.suffix.lower() == ".txt":
        yield from _plain(path, limits)
        return
    problems: list[Problem] = []
    rows = 0
    for number, row, reason in read_rows(path, limits):
        rows += 1
        try:
            if row is None:
                raise Malformed(reason)
            document = text(row, "text")
        except Malformed as error:
            problems.append(Problem(file=str(path), line=number, reason=str(error)))
            continue
        if not problems:
            yield document, True
    if problems:
        raise DataError(summary(problems))
    if not rows:
        raise DataError(f"{path} is empty")


def _plain(path: Path, limits: Limits) -> Iterator[tuple[str, bool]]:
    """Pieces that end at a line's end, because a whole book at once costs the tokenizer gigabytes."""
    try:
        if path.stat().st_size > limits.file_bytes:
            raise DataError(f"{path} is larger than {limits.file_bytes:,} bytes; split it")
        before = ""
        empty = True
        with path.open(encoding="utf-8-sig") as file:
            while lines := file.readlines(_PIECE):
                if before:
                    yield before, False
                before = clean("".join(lines))
                empty = empty and not before.strip()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: no valid UTF-8: {error.reason}") from None
    except Malformed as error:
        raise DataError(f"{path}: {error}") from None
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror}") from None
    if empty:
        raise DataError(f"{path} is empty")
    yield before, True
