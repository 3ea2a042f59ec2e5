"""From files to checked examples."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import chain, islice
from os import PathLike
from pathlib import Path
from typing import Literal

from motet_alignment.data.detect import fitting, readable, used, wanted
from motet_alignment.data.files import Limits, Line, read_rows
from motet_alignment.data.items import Examples, Item, Kind, Problem, SourceFile
from motet_alignment.data.shapes import Phrase, Reading, Shape, all_shapes, plain_phrase, shape_named
from motet_alignment.data.values import Malformed
from motet_alignment.errors import DataError

#: How many rows a file's shape is told from.
LOOKED_AT = 1000
#: How many problems an error spells out.
SHOWN = 20


def read_examples(
    *paths: str | PathLike[str],
    shape: str | None = None,
    kind: Kind | None = None,
    on_bad: Literal["refuse", "skip"] = "refuse",
    phrase: Phrase = plain_phrase,
    limits: Limits | None = None,
    progress: Callable[[int], None] | None = None,
) -> Examples:
    """Every example of `paths`, in their order.

    `shape` names the files' shape where it can't be told from their columns; `kind` asks for one kind of example and
    leaves shapes of other kinds out of account. `progress` is called with 1 for each row. Raises `DataError` that
    lists the bad lines (the first 20, and how many there are), or with `on_bad="skip"` puts them into `problems`; for
    a file that can't be read to its end, is empty, has no usable line, or whose shape is unknown, ambiguous or mixed;
    and for files of different kinds.
    """
    if not paths:
        raise DataError("no data file was given")
    resolved = [Path(path).resolve() for path in paths]
    if twice := [path for place, path in enumerate(paths) if resolved[place] in resolved[:place]]:
        raise DataError(f"{twice[0]} was given twice")
    asked = shape_named(shape) if shape is not None else None
    if asked is not None and kind is not None and asked.kind != kind:
        raise DataError(f"shape {asked.name!r} holds {asked.kind}s; this needs {kind}s")
    items: list[Item] = []
    files: list[SourceFile] = []
    problems: list[Problem] = []
    kinds: dict[Kind, Path] = {}
    for path in map(Path, paths):
        lines = read_rows(path, limits or Limits())
        if progress is not None:
            lines = _counted(lines, progress)
        file, found, bad, of_kind = _read_file(path, lines, asked, kind, phrase)
        kinds.setdefault(of_kind, path)
        files.append(file)
        items.extend(found)
        problems.extend(bad)
    if problems and on_bad == "refuse":
        raise DataError(summary(problems))
    if len(kinds) > 1:
        (one, here), (other, there) = list(kinds.items())[:2]
        raise DataError(f"files of different kinds: {here} holds {one}s, {there} {other}s")
    for file in files:
        if not file.examples:
            bad = [problem for problem in problems if problem.file == str(file.path)]
            raise DataError(f"{file.path}: no line can be used\n{summary(bad)}")
    return Examples(items=tuple(items), kind=next(iter(kinds)), files=tuple(files), problems=tuple(problems))


def summary(problems: list[Problem], shown: int = SHOWN) -> str:
    """The first problems, a line each, and how many there are."""
    lines = [f"{len(problems)} bad line{'s' if len(problems) > 1 else ''}:"]
    lines += [f"  {problem}" for problem in problems[:shown]]
    if len(problems) > shown:
        lines.append(f"  ... and {len(problems) - shown} more")
    return "\n".join(lines)


def _read_file(
    path: Path, lines: Iterator[Line], asked: Shape | None, kind: Kind | None, phrase: Phrase
) -> tuple[SourceFile, list[Item], list[Problem], Kind]:
    head = list(islice(lines, LOOKED_AT))
    if not head:
        raise DataError(f"{path} is empty")
    shape, first, taken = (asked, 0, {(asked,)}) if asked else _shape_of(path, head, kind)
    items: list[Item] = []
    problems: list[Problem] = []
    unused: Counter[str] = Counter()
    rows = 0
    for number, row, reason in chain(head, lines):
        rows += 1
        try:
            if row is None:
                raise Malformed(reason)
            fits = (shape,) if asked else fitting(row.keys(), kind)
            # A row that could only be a prompt lacks its answer here: a bad line, rather than another shape.
            if fits and fits not in taken and fits[0].kind != "prompt":
                raise _mixed(path, {shape.name: [first], fits[0].name: [number]})
            if not any(keys <= row.keys() for keys in shape.keys):
                missing = min((sorted(keys - row.keys()) for keys in shape.keys), key=len)
                raise Malformed(f"key {', '.join(map(repr, missing))} is missing or null ({shape.name})")
            reading = Reading(source=f"{path}:{number}", phrase=phrase)
            items.extend(list(shape.read(row, reading)))
        except Malformed as error:
            problems.append(Problem(file=str(path), line=number, reason=str(error)))
            continue
        unused.update(reading.unused)
        unused.update(row.keys() - used(shape))
    digest = _sha256(path)
    file = SourceFile(
        path=path, shape=shape.name, sha256=digest, rows=rows, examples=len(items), unused=dict(unused)
    )
    return file, items, problems, shape.kind


def _shape_of(
    path: Path, head: list[Line], kind: Kind | None
) -> tuple[Shape, int, Collection[tuple[Shape, ...]]]:
    """The one shape that the first rows have, the first line that has it, and what its rows' columns may mean."""
    seen: dict[tuple[Shape, ...], list[Line]] = {}
    for line in head:
        if line.row is not None and (shapes := fitting(line.row.keys(), kind)):
            seen.setdefault(shapes, []).append(line)
    numbers: dict[Shape, list[int]] = {}
    for shapes, lines in seen.items():
        left = readable(shapes, [line.row or {} for line in lines])
        if len(left) > 1:
            names = " or ".join(shape.name for shape in left)
            raise DataError(f"{path}:{lines[0].number}: ambiguous, may be {names}; say which with --shape")
        numbers.setdefault(left[0], []).extend(line.number for line in lines)
    # What has too few columns for anything but a prompt is a bad line where other rows have more.
    numbers = {one: found for one, found in numbers.items() if one.kind != "prompt"} or numbers
    if len(numbers) == 1:
        ((shape, (first, *_)),) = numbers.items()
        return shape, first, {(shape,), *seen}
    if numbers:
        raise _mixed(path, {shape.name: sorted(found) for shape, found in numbers.items()})
    raise DataError(_unknown(path, head, kind))


def _unknown(path: Path, head: list[Line], kind: Kind | None) -> str:
    rows = [line for line in head if line.row is not None]
    if not rows:
        problems = [Problem(file=str(path), line=line.number, reason=line.reason) for line in head]
        return f"{path}: no line can be read\n{summary(problems)}"
    number, row, _ = rows[0]
    has = ", ".join(sorted(row or ())) or "none"
    other = fitting((row or {}).keys())
    if kind is not None and other and other[0].kind != "prompt":
        return f"{path}:{number}: holds {other[0].kind}s ({other[0].name}); this needs {kind}s"
    if "text" in (row or {}):
        return (
            f"{path}:{number}: plain text (column text) is for mixing with pretraining text, not for examples"
        )
    choices = [shape for shape in all_shapes() if kind is None or shape.kind == kind]
    return f"{path}:{number}: unknown shape, columns {has}. Shapes and their columns: {wanted(choices)}"


def _mixed(path: Path, places: Mapping[str, list[int]]) -> DataError:
    told = "; ".join(f"{name} on {_some(numbers)}" for name, numbers in places.items())
    return DataError(f"{path}: mixes shapes: {told}. Put each into a file of its own")


def _some(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:5]))
    more = f" and {len(numbers) - 5} more" if len(numbers) > 5 else ""
    return f"line{'s' if len(numbers) > 1 else ''} {shown}{more}"


def _counted(lines: Iterator[Line], progress: Callable[[int], None]) -> Iterator[Line]:
    for line in lines:
        progress(1)
        yield line


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
