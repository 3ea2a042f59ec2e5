"""What a data file holds, measured with a model's tokenizer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from motet_alignment.data.filters import FilterSettings, filter_examples
from motet_alignment.data.items import (
    Comparison,
    Demonstration,
    Examples,
    Item,
    Kind,
    Message,
    Problem,
    Prompt,
    Ranking,
    Rating,
)
from motet_alignment.data.pack import packed
from motet_alignment.data.read import SHOWN, read_examples
from motet_alignment.data.render import Rendered, render, render_comparison, render_prompt, render_turns
from motet_alignment.data.shapes import Phrase, plain_phrase
from motet_alignment.errors import DataError


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Lengths(_Frozen):
    """Lengths in tokens of a file's conversations."""

    mean: float
    percentiles: dict[str, int] = Field(description="The least, 50th, 90th, 99th percentile and the most.")
    histogram: tuple[tuple[int, int, int], ...] = Field(description="(from, up to and with, how many).")


class Piece(_Frozen):
    """Part of a rendered conversation."""

    text: str
    learnt: bool = Field(description="Whether its tokens carry loss.")


class Fit(_Frozen):
    """What the context makes of the conversations."""

    context: int
    whole: int = Field(description="Texts that fit as they are.")
    shortened: int = Field(description="Texts that lose their oldest turns.")
    cut: int = Field(description="Texts whose last answer is cut at its end.")
    refused: int = Field(description="Texts that can't be used: the first reasons are in `refusals`.")
    refusals: tuple[str, ...]
    rows: int = Field(description="Rows of the context that hold them when packed.")
    filled: float = Field(description="The share of those rows that is text.")


class Inspection(_Frozen):
    """Everything that `motet data inspect` says of one file."""

    path: Path
    sha256: str
    shape: str
    kind: Kind
    rows: int
    examples: int
    problems: tuple[Problem, ...] = Field(description=f"The first {SHOWN}.")
    problem_count: int
    unused: dict[str, int] = Field(description="Columns that the shape has no use for, and in how many rows.")
    turns: dict[str, int] = Field(description="Turns by role, over all examples.")
    exchanges: dict[int, int] = Field(description="Examples by the number of their assistant's turns.")
    system_prompts: int = Field(description="Examples with a system prompt.")
    different_system_prompts: int
    tokenizer: str
    conversations: Lengths = Field(
        description="Tokens of whole conversations, of each answer's where there are several; of prompts, their own."
    )
    learnt: Lengths | None = Field(description="Tokens that carry loss; None for prompts, which carry none.")
    fit: Fit
    open_ended: int = Field(
        description="Uncut texts whose last answer ends without a special token: nothing teaches the model to stop."
    )
    forged: int = Field(
        description="Examples whose text spells one of the tokenizer's special tokens, which it then becomes."
    )
    filters: dict[str, int] = Field(description="Examples that the filters would leave out, by reason.")
    sample_source: str
    sample: tuple[Piece, ...]


def inspect_file(
    path: Path,
    tokenizer: Any,
    *,
    context: int,
    shape: str | None = None,
    filters: FilterSettings | None = None,
    phrase: Phrase = plain_phrase,
    sample: int = 1,
    progress: Callable[[str, int | None], Callable[[int], None]] | None = None,
) -> Inspection:
    """Reads, renders and measures `path`; bad lines are listed and left out.

    `sample` is the place, from 1, of the example to show. `progress` is asked for a counter at the start of each part
    of the work, with its name and its length where known. Raises `DataError` where nothing of the file can be used.
    """
    watch = progress or (lambda _name, _total: lambda _steps: None)
    examples = read_examples(
        path, shape=shape, on_bad="skip", phrase=phrase, progress=watch(f"Reading {path.name}", None)
    )
    count = len(examples.items)
    if not 1 <= sample <= count:
        raise DataError(f"--sample {sample}: {path} has {count} example{'s' if count > 1 else ''}")
    step = watch(f"Rendering {path.name}", count)
    whole: list[Rendered] = []
    refusals: list[str] = []
    fitted: list[Rendered] = []
    for item in examples.items:
        try:
            rendered = _rendered(tokenizer, item, None)
            whole += rendered
            fitted += (
                rendered
                if all(len(one.input_ids) <= context for one in rendered)
                else _rendered(tokenizer, item, context)
            )
        except DataError as error:
            refusals.append(str(error))
        step(1)
    if not whole:
        raise DataError(f"{path}: no example can be rendered; the first: {refusals[0]}")
    _, report = filter_examples(
        examples, filters or FilterSettings(), tokenizer, watch(f"Filtering {path.name}", count)
    )
    conversations = [conversation for item in examples.items for conversation in _conversations(item)]
    systems = [
        turns[0].content for item in examples.items if (turns := _conversations(item)[0])[0].role == "system"
    ]
    file = examples.files[0]
    return Inspection(
        path=path,
        sha256=file.sha256,
        shape=file.shape,
        kind=examples.kind,
        rows=file.rows,
        examples=count,
        problems=examples.problems[:SHOWN],
        problem_count=len(examples.problems),
        unused=dict(file.unused),
        turns=dict(Counter(turn.role for conversation in conversations for turn in conversation)),
        exchanges=_exchanges(examples),
        system_prompts=len(systems),
        different_system_prompts=len(set(systems)),
        tokenizer=str(tokenizer.name_or_path),
        conversations=lengths([len(one.input_ids) for one in whole]),
        learnt=None if examples.kind == "prompt" else lengths([sum(one.assistant) for one in whole]),
        fit=_fit(fitted, refusals, context),
        open_ended=_open_ended(tokenizer, whole),
        forged=_forged(tokenizer, examples),
        filters=report.counts,
        sample_source=examples.items[sample - 1].source,
        sample=tuple(_pieces(tokenizer, examples.items[sample - 1], context)),
    )


def lengths(values: Sequence[int]) -> Lengths:
    """The distribution of `values`, of which there must be one at least; at most ten bins of equal width."""
    ordered = sorted(values)
    last = len(ordered) - 1
    # The nearest rank: a length that some conversation really has.
    marks = {"min": 0, "p50": last * 50 // 100, "p90": last * 90 // 100, "p99": last * 99 // 100, "max": last}
    width = max(1, -(-(ordered[-1] - ordered[0] + 1) // 10))
    starts = range(ordered[0], ordered[-1] + 1, width)
    counts = Counter((value - ordered[0]) // width for value in ordered)
    return Lengths(
        mean=sum(ordered) / len(ordered),
        percentiles={name: ordered[place] for name, place in marks.items()},
        histogram=tuple((start, start + width - 1, counts[place]) for place, start in enumerate(starts)),
    )


def _conversations(item: Item) -> list[tuple[Message, ...]]:
    """The whole conversations that an item stands for: one for each answer."""
    match item:
        case Demonstration() | Rating():
            return [item.messages]
        case Comparison():
            return [(*item.prompt, *item.chosen), (*item.prompt, *item.rejected)]
        case Ranking():
            return [(*item.prompt, *answer) for answer in item.answers]
        case Prompt():
            return [item.prompt]


def _rendered(tokenizer: Any, item: Item, context: int | None) -> list[Rendered]:
    room = context or _ENDLESS
    if isinstance(item, Demonstration):
        return render_turns(tokenizer, item.messages, context=room, source=item.source)
    if isinstance(item, Comparison):
        return list(render_comparison(tokenizer, item, context=room))
    if isinstance(item, Prompt):
        return [render_prompt(tokenizer, item.prompt, context=room, source=item.source)]
    return [
        render(tokenizer, messages, context=room, learn="last", source=item.source)
        for messages in _conversations(item)
    ]


_ENDLESS = 2**62


def _fit(fitted: list[Rendered], refusals: list[str], context: int) -> Fit:
    sizes = [len(one.input_ids) for one in fitted]
    rows = len(packed(range(len(sizes)), sizes, context))
    return Fit(
        context=context,
        whole=sum(not one.dropped and not one.cut for one in fitted),
        shortened=sum(bool(one.dropped) and not one.cut for one in fitted),
        cut=sum(bool(one.cut) for one in fitted),
        refused=len(refusals),
        refusals=tuple(refusals[:SHOWN]),
        rows=rows,
        filled=sum(sizes) / (rows * context) if rows else 0.0,
    )


def _open_ended(tokenizer: Any, whole: Sequence[Rendered]) -> int:
    """How many texts have a last token to learn, and one that stands for text."""
    specials = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    learnt = [one for one in whole if 1 in one.assistant]
    last = [len(one.assistant) - 1 - one.assistant[::-1].index(1) for one in learnt]
    return sum(one.input_ids[place] not in specials for one, place in zip(learnt, last, strict=True))


def _forged(tokenizer: Any, examples: Examples) -> int:
    specials = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    return sum(
        any(
            special in turn.content
            for conversation in _conversations(item)
            for turn in conversation
            for special in specials
        )
        for item in examples.items
    )


def _exchanges(examples: Examples) -> dict[int, int]:
    counts = Counter(
        sum(turn.role == "assistant" for turn in _conversations(item)[0]) for item in examples.items
    )
    return dict(sorted(counts.items()))


def _pieces(tokenizer: Any, item: Item, context: int) -> list[Piece]:
    """The item's first text as the model sees it, in runs of tokens that carry loss or don't."""
    try:
        rendered = _rendered(tokenizer, item, context)[0]
    except DataError as error:
        return [Piece(text=f"({error})", learnt=False)]
    pieces: list[Piece] = []
    begin = 0
    flags: list[Literal[0, 1] | int] = list(rendered.assistant)
    for end in range(1, len(flags) + 1):
        if end == len(flags) or flags[end] != flags[begin]:
            text = tokenizer.decode(rendered.input_ids[begin:end], skip_special_tokens=False)
            pieces.append(Piece(text=text, learnt=bool(flags[begin])))
            begin = end
    return pieces
