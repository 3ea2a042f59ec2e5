"""How this room's commands tell what whoever gave them can mend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from motet_alignment.errors import AlignmentError


@contextmanager
def complaints(command: str) -> Iterator[None]:
    """An AlignmentError is said in a sentence after the command's name, with exit code 2."""
    try:
        yield
    except AlignmentError as error:
        typer.echo(f"{command}: error: {error}", err=True)
        raise typer.Exit(2) from None
