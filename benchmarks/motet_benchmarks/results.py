"""Where results go: one JSON, CSV, Markdown and PNG file of the same name, each replaced as a whole."""

from __future__ import annotations

import csv
import io
import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.files import replace

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.table import Table


#: A sign that would begin a tag or a comment.
_TAG = re.compile(r"<(?=[A-Za-z/!?])")

#: What would make a line more than text: a heading, a quotation, a list, a block of code, a rule.
_BLOCK = re.compile(r"#{1,6} |>|[-+*] |~~~|```|---")


@dataclass(frozen=True, slots=True)
class Grid:
    """A table of text, for a terminal or a Markdown page."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{self.title}: {len(row)} cells under {len(self.columns)} columns: {row}")

    def markdown(self) -> str:
        """As GitHub's Markdown, the first column to the left and the others to the right."""
        rule = ("---", *("---:" for _ in self.columns[1:]))
        lines = (
            tuple(map(_cell, self.columns)),
            rule,
            *(tuple(map(_cell, row)) for row in self.rows),
        )
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def table(self) -> Table:
        """For rich's console."""
        from rich.markup import escape
        from rich.table import Table

        table = Table(title=self.title, title_justify="left")
        for place, column in enumerate(self.columns):
            table.add_column(escape(column), justify="right" if place else "left")
        for row in self.rows:
            table.add_row(*(escape(cell) for cell in row))
        return table


def marked(text: str) -> str:
    """What others wrote, as text of one line of Markdown: it begins no heading, no tag, no comment and no link."""
    line = _line(text)
    return f"\\{line}" if _BLOCK.match(line) else line


def check_folder(folder: Path, option: str = "--out") -> None:
    """Make `folder` if need be. Raises BenchmarkError if nothing can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as problem:
        raise BenchmarkError(f"{option} {folder}: can't write there: {problem.strerror or problem}") from None


def write(
    folder: Path,
    stem: str,
    *,
    facts: Mapping[str, Any],
    samples: Sequence[Any],
    markdown: str,
    figure: Figure,
) -> list[Path]:
    """Write `stem`.json, .csv, .md and .png into `folder` and return their paths.

    Args:
        folder: made if it isn't there.
        stem: the files' name before the dot.
        facts: what JSON can hold.
        samples: dataclass instances of one kind, the CSV's lines; at least one.
        markdown: the page.
        figure: the plot.

    Raises BenchmarkError if the files can't be written.
    """
    check_folder(folder)
    lines = [asdict(sample) for sample in samples]
    sheet = io.StringIO(newline="")
    writer = csv.DictWriter(sheet, fieldnames=list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120, bbox_inches="tight", metadata={"Software": "motet bench"})
    contents = {
        "json": (json.dumps(facts, indent=1, allow_nan=False) + "\n").encode(),
        "csv": sheet.getvalue().encode(),
        "md": (markdown.rstrip() + "\n").encode(),
        "png": picture.getvalue(),
    }
    paths = []
    try:
        for suffix, content in contents.items():
            path = folder / f"{stem}.{suffix}"
            replace(path, content)
            paths.append(path)
    except OSError as problem:
        raise BenchmarkError(f"--out {folder}: can't write there: {problem.strerror or problem}") from None
    return paths


def show(grids: Sequence[Grid], paths: Sequence[Path]) -> None:
    """Print the tables, and where the files are."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=150)  # into a file or a pipe, nothing needs to be folded
    for grid in grids:
        console.print(grid.table())
    console.print(f"written: {', '.join(str(path) for path in paths)}", soft_wrap=True, highlight=False)


def _cell(text: str) -> str:
    """In a table a bar would begin the next cell, whatever stands before it."""
    return _line(text.replace("\\", "\\\\")).replace("|", "\\|")


def _line(text: str) -> str:
    return _TAG.sub("&lt;", " ".join(text.split())).replace("](", "]\\(")
