"""Any shape written as the plain one of its kind."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from motet_alignment.data.items import Comparison, Demonstration, Examples, Item, Message, Ranking, Rating
from motet_alignment.errors import DataError

Target = Literal["chat", "pairs"]


def convert(
    examples: Examples,
    to: Target,
    out: Path,
    *,
    force: bool = False,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Writes the examples as JSON lines to `out` and says how many lines it has.

    `chat` holds `messages`, and `score` for ratings; `pairs` holds `prompt`, `chosen` and `rejected` as messages, with
    `margin` and `confidence` where known, and every pair of a ranking. The file is written beside and renamed into
    place. Raises `DataError` for a kind that the target can't hold, and for an `out` that exists unless `force`.
    """
    wanted = ("demonstration", "rating") if to == "chat" else ("comparison", "ranking")
    if examples.kind not in wanted:
        raise DataError(f"--to {to} holds {wanted[0]}s and {wanted[1]}s; the data holds {examples.kind}s")
    if out.suffix != ".jsonl":
        raise DataError(f"{out}: the output is JSON lines, so its name must end in .jsonl")
    if out.exists() and not force:
        raise DataError(f"{out} exists; --force replaces it")
    count = 0
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=out.parent, prefix=f".{out.name}.", delete=False
        ) as file:
            try:
                for item in examples.items:
                    for row in _rows(item):
                        file.write(json.dumps(row, ensure_ascii=False) + "\n")
                        count += 1
                    if progress is not None:
                        progress(1)
                file.flush()
                os.fsync(file.fileno())
                os.chmod(file.name, 0o666 & ~_umask())
                os.replace(file.name, out)
            except BaseException:
                with suppress(FileNotFoundError):
                    os.unlink(file.name)
                raise
    except OSError as error:
        raise DataError(f"{out} can't be written: {error.strerror}") from None
    return count


def _rows(item: Item) -> Iterator[dict[str, Any]]:
    match item:
        case Demonstration():
            yield {"messages": _plain(item.messages)}
        case Rating():
            yield {"messages": _plain(item.messages), "score": item.score}
        case Comparison():
            row = {key: _plain(getattr(item, key)) for key in ("prompt", "chosen", "rejected")}
            sure = {"margin": item.margin, "confidence": item.confidence}
            yield row | {key: value for key, value in sure.items() if value is not None}
        case Ranking():
            for place, better in enumerate(item.answers):
                for worse in item.answers[place + 1 :]:
                    yield {"prompt": _plain(item.prompt), "chosen": _plain(better), "rejected": _plain(worse)}


def _plain(messages: Sequence[Message]) -> list[dict[str, Any]]:
    return [message.model_dump(exclude_defaults=True) for message in messages]


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
