"""What the benchmark commands share: options, how they are read, and how a mistake is told."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from motet_benchmarks.errors import BenchmarkError

if TYPE_CHECKING:
    from motet_decoding.contrast import Contrast

Out = Annotated[Path, typer.Option(help="The folder for the JSON, CSV, Markdown and PNG files.")]
Model = Annotated[
    str | None, typer.Option(help="The expert: a folder or hub name; the bundled one when left out.")
]
Amateur = Annotated[
    str | None, typer.Option(help="The amateur: a folder or hub name; the bundled one when left out.")
]
ServeOptions = Annotated[
    str, typer.Option(help='Options for the servers that are started, such as "--max-model-len 4096".')
]
Tokens = Annotated[int, typer.Option(min=1, help="Tokens of each answer; the mean where answers differ.")]
Rounds = Annotated[
    int,
    typer.Option(min=1, help="How often every arm is measured. Fewer than six give too narrow intervals."),
]
Minutes = Annotated[
    float, typer.Option(min=0, help="No round is begun that might end after this long, but for the first.")
]
Strength = Annotated[float | None, typer.Option(min=0, help="Contrast's strength.")]
Plausibility = Annotated[float | None, typer.Option(min=0, max=1, help="Contrast's plausibility.")]
Count = Annotated[int, typer.Option(min=1, help="Test problems of each family.")]
Tuning = Annotated[int, typer.Option(min=1, help="Validation problems of each family for --sweep.")]
Seed = Annotated[int, typer.Option(help="Chooses prompts, problems and logits.")]

RESULTS = Path("benchmarks/results")


@contextmanager
def complaints(command: str = "motet bench") -> Iterator[None]:
    """What the user can mend is said in a sentence, with exit code 2."""
    try:
        yield
    except BenchmarkError as error:
        typer.echo(f"{command}: error: {error}", err=True)
        raise typer.Exit(2) from None


def whole_numbers(option: str, text: str) -> tuple[int, ...]:
    """The numbers in ``text``, each once, in order. Raises BenchmarkError unless all are whole and at least 1."""
    try:
        numbers = sorted({int(part) for part in words(text)})
    except ValueError:
        numbers = []
    if not numbers or numbers[0] < 1:
        raise BenchmarkError(
            f"{option} {text}: must be whole numbers from 1 with commas between, such as 1,8,32"
        )
    return tuple(numbers)


def words(text: str) -> list[str]:
    """What stands between the commas of ``text``."""
    return [part.strip() for part in text.split(",") if part.strip()]


def asked_contrast(strength: float | None, plausibility: float | None) -> Contrast:
    """The contrast of --strength and --plausibility. Raises BenchmarkError for what none may have."""
    from pydantic import ValidationError

    from motet_decoding.contrast import Contrast

    told = {"strength": strength, "plausibility": plausibility}
    try:
        return Contrast.model_validate({name: value for name, value in told.items() if value is not None})
    except ValidationError as error:
        problem = error.errors()[0]
        raise BenchmarkError(f"--{problem['loc'][0]}: {problem['msg']}, got {problem['input']}") from None


def server_options(options: str, option: str = "--serve-options") -> list[str]:
    """The words of ``option``, as a shell parts them. Raises BenchmarkError for a quotation that isn't closed."""
    try:
        return shlex.split(options)
    except ValueError as problem:
        raise BenchmarkError(f"{option}: {problem}") from None
