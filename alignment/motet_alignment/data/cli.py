"""Look at, check and convert training data."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from motet_alignment.complaints import complaints
from motet_alignment.errors import DataError

if TYPE_CHECKING:
    from motet_alignment.data.shapes import Phrase

app = typer.Typer(
    help="Look at, check and convert training data: JSON, JSON lines (also .gz) and Parquet.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

#: Columns of a table that no terminal limits: room for a hash.
_PIPED = 120

Files = Annotated[list[Path], typer.Argument(help="Data files.", show_default=False)]
ShapeName = Annotated[
    str | None, typer.Option("--shape", help="The files' shape, where it can't be told from their columns.")
]
Phrasing = Annotated[
    str | None,
    typer.Option(
        help="Vary how instructions are put: 'default', or a YAML file with the lists instruction and input."
    ),
]
Seed = Annotated[int, typer.Option(help="Chooses the phrasings.")]


class To(StrEnum):
    """What `convert` writes."""

    chat = "chat"
    pairs = "pairs"


class OnBad(StrEnum):
    """What to do about bad lines."""

    refuse = "refuse"
    skip = "skip"


@app.command()
def inspect(
    files: Files,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            help="Model whose tokenizer and chat template to use; the bundled expert's when left out.",
            show_default=False,
        ),
    ] = None,
    context: Annotated[
        int | None,
        typer.Option(
            min=2, help="Tokens of a conversation; the model's own limit when left out.", show_default=False
        ),
    ] = None,
    shape: ShapeName = None,
    sample: Annotated[int, typer.Option(min=1, help="Which example to show, from 1.")] = 1,
    phrasing: Phrasing = None,
    seed: Seed = 0,
    near_duplicates: Annotated[
        float | None, typer.Option(help="Also count near-duplicates: Jaccard similarity between 0 and 1.")
    ] = None,
    min_answer: Annotated[int, typer.Option(min=0, help="Count answers of fewer tokens.")] = 0,
    max_answer: Annotated[int | None, typer.Option(min=1, help="Count answers of more tokens.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="A JSON list on stdout, one object a file.")
    ] = False,
) -> None:
    """Shape, counts, lengths, bad lines, what filters would drop, and a rendered sample with the masked part marked.

    Exit code 1 where a line is bad or leaves no room for an answer, 2 where a file can't be used at all.
    """
    from rich.console import Console

    with complaints("motet data"), ExitStack() as stack:
        from motet_alignment.data.inspect import inspect_file
        from motet_alignment.data.show import show

        filters = _filters(near_duplicates=near_duplicates, min_answer=min_answer, max_answer=max_answer)
        phrase = _phrase(phrasing, seed)
        loaded = _tokenizer(tokenizer)
        room = context or _own_context(loaded)
        found = [
            inspect_file(
                path,
                loaded,
                context=room,
                shape=shape,
                filters=filters,
                phrase=phrase,
                sample=sample,
                progress=_bars(stack),
            )
            for path in files
        ]
        stack.close()
        if as_json:
            import json

            typer.echo(json.dumps([one.model_dump(mode="json") for one in found], indent=2))
        else:
            console = Console()
            if not console.is_terminal:
                console = Console(width=_PIPED)
            for one in found:
                show(one, console)
    if any(one.problem_count or one.fit.refused for one in found):
        raise typer.Exit(1)


@app.command()
def convert(
    files: Files,
    to: Annotated[To, typer.Option(help="chat: messages; pairs: prompt, chosen and rejected.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The JSON lines file to write.")],
    shape: ShapeName = None,
    phrasing: Phrasing = None,
    seed: Seed = 0,
    on_bad: Annotated[
        OnBad, typer.Option(help="Refuse all for a bad line, or leave it out and say so.")
    ] = OnBad.refuse,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
) -> None:
    """Write data of any shape as OpenAI chat lines or as preference pairs."""
    with complaints("motet data"):
        from motet_alignment.data.convert import convert as write
        from motet_alignment.data.progress import progress_bar
        from motet_alignment.data.read import read_examples, summary

        with progress_bar("Reading") as step:
            examples = read_examples(
                *files, shape=shape, on_bad=on_bad.value, phrase=_phrase(phrasing, seed), progress=step
            )
        with progress_bar("Writing", len(examples)) as step:
            count = write(examples, to.value, out, force=force, progress=step)
        if examples.problems:
            typer.echo(f"left out {summary(list(examples.problems))}", err=True)
        unused = sorted({name for file in examples.files for name in file.unused})
        typer.echo(f"{out}: {count} lines from {examples.shape}")
        if unused:
            typer.echo(f"columns without use: {', '.join(unused)}", err=True)


@app.command()
def kappa(
    files: Annotated[list[Path], typer.Argument(help="One file with two columns, or two to join.")],
    a: Annotated[str, typer.Option("--a", help="Column of the first annotator's labels.")],
    b: Annotated[
        str, typer.Option("--b", help="Column of the second's, in the second file where there are two.")
    ],
    key: Annotated[str | None, typer.Option("--id", help="Column that joins two files.")] = None,
    seed: Annotated[int, typer.Option(help="Seeds the bootstrap.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object on stdout.")] = False,
) -> None:
    """Cohen's kappa of two annotators, with a bootstrap 95% interval over examples."""
    with complaints("motet data"):
        from motet_alignment.data.kappa import cohen_kappa, read_joined, read_labels

        if len(files) > 2:
            raise DataError("kappa takes one file, or two")
        if (len(files) == 2) != (key is not None):
            raise DataError("two files are joined by --id COLUMN, and one file needs none")
        first, second = (
            read_joined(files[0], a, files[1], b, key) if key is not None else read_labels(files[0], a, b)
        )
        try:
            result = cohen_kappa(first, second, seed=seed)
        except ValueError as error:
            raise DataError(f"{files[0]}: {error}") from None
    if as_json:
        typer.echo(result.model_dump_json(indent=2))
        return
    agreed = f"agreement {result.observed:.3f}, by chance {result.expected:.3f}, {result.examples} examples"
    if result.kappa is None:
        typer.echo(f"kappa undefined: both gave the same label to every example ({agreed})")
        return
    typer.echo(
        f"kappa {result.kappa:.3f} [{result.low:.3f}, {result.high:.3f}] ({agreed}, {result.labels} labels)"
    )
    if result.undefined:
        typer.echo(f"undefined in {result.undefined} resamples, which the interval leaves out", err=True)


def _filters(**options: Any) -> Any:
    from pydantic import ValidationError

    from motet_alignment.data.filters import FilterSettings

    try:
        return FilterSettings(**options)
    except ValidationError as error:
        fault = error.errors()[0]
        option = "--" + "-".join(str(fault["loc"][0]).split("_")) + ": " if fault["loc"] else ""
        raise DataError(f"{option}{fault['msg'].removeprefix('Value error, ')}") from None


def _phrase(phrasing: str | None, seed: int) -> Phrase:
    from motet_alignment.data.phrasing import read_phrasings
    from motet_alignment.data.shapes import plain_phrase

    if phrasing is None:
        return plain_phrase
    return read_phrasings(None if phrasing == "default" else Path(phrasing)).phrase(seed)


def _tokenizer(model: str | None) -> Any:
    from transformers import AutoTokenizer

    from motet_models import EXPERT

    try:
        return AutoTokenizer.from_pretrained(model or str(EXPERT))
    except (OSError, ValueError) as error:
        raise DataError(f"--tokenizer {model}: {' '.join(str(error).split())}") from None


def _own_context(tokenizer: Any) -> int:
    """The tokenizer's limit; transformers writes an astronomic number for none."""
    limit = int(tokenizer.model_max_length)
    if limit > 2**30:
        raise DataError(f"{tokenizer.name_or_path} does not say how long its context is; give --context")
    return limit


def _bars(stack: ExitStack) -> Callable[[str, int | None], Callable[[int], None]]:
    """Each part of the work ends the bar of the part before: a terminal has room for one live display."""
    from motet_alignment.data.progress import progress_bar

    def begin(title: str, total: int | None) -> Callable[[int], None]:
        stack.close()
        return stack.enter_context(progress_bar(title, total))

    return begin
