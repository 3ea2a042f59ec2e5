"""The page: one HTML file that needs no other."""

from __future__ import annotations

from collections.abc import Sequence

from motet_benchmarks.results import Grid
from motet_benchmarks.strategies.records import Run


def html(run: Run, grids: Sequence[Grid]) -> str:
    """The whole page."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader(__name__.rpartition(".")[0], "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(run=run, grids=grids)
