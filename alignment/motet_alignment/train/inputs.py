"""Everything that a run needs to know of its data, ready to be batched."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from motet_alignment.data import Examples, Item, Kind, Rating, read_examples
from motet_alignment.data.filters import FilterSettings, filter_examples
from motet_alignment.data.phrasing import read_phrasings
from motet_alignment.data.progress import progress_bar
from motet_alignment.data.shapes import Phrase, plain_phrase
from motet_alignment.data.text import read_text
from motet_alignment.errors import DataError
from motet_alignment.train.models import Base
from motet_alignment.train.samples import (
    Rendering,
    Sample,
    counted,
    make_samples,
    split,
    text_samples,
    with_scores,
    without_prompts_of,
)
from motet_alignment.train.settings import DpoSettings, RewardSettings, SftSettings, TrainSettings


@dataclass(frozen=True)
class Inputs:
    """Samples to train and to evaluate on, and the story of where they came from."""

    kind: Kind
    samples: list[Sample]
    held_out: list[Sample]
    files: list[dict[str, Any]]
    notes: list[str] = field(default_factory=list)
    #: Ratings were moved by the first and divided by the second.
    scale: tuple[float, float] = (0.0, 1.0)
    #: How ratings are learnt.
    logistic: bool = False


def read_inputs(settings: TrainSettings, base: Base, *, progress: bool = False) -> Inputs:
    """Reads, filters, splits and tokenises the data. Raises DataError naming file and line, TrainError."""
    notes: list[str] = []
    examples = _read(settings, settings.data, notes)
    wanted = _kinds(settings)
    if examples.kind not in wanted:
        raise DataError(
            f"{settings.data[0]} holds {examples.kind}s ({examples.shape}); motet train {settings.kind()} needs "
            + " or ".join(f"{kind}s" for kind in wanted)
        )
    files = counted(examples)
    examples = _filtered(settings, examples, base, notes)
    train: Sequence[Item]
    held: Sequence[Item]
    if settings.eval:
        others = _read(settings, settings.eval, notes, examples.kind)
        files += [{**file, "path": f"{file['path']} (evaluation)"} for file in counted(others)]
        held = others.items
        train = without_prompts_of(examples.items, held)
        if leaked := len(examples.items) - len(train):
            notes.append(
                f"{leaked:,} examples ask what an evaluation example asks, and were left out of training"
            )
    else:
        train, held = split(examples.items, settings.held_out, settings.seed)
        if settings.held_out and not held:
            notes.append("all examples ask the same, so that none could be held out")
    skip = settings.on_bad == "skip"
    rendering = Rendering()

    def sampled(items: Sequence[Item]) -> list[Sample]:
        with progress_bar("tokenising", len(items)) if progress else nullcontext(lambda steps: None) as step:
            return make_samples(
                items, base.tokenizer, base.context, rendering=rendering, skip=skip, after=lambda: step(1)
            )

    samples, held_out = sampled(train), sampled(held)
    if rendering.shortened:
        notes.append(
            f"{rendering.shortened:,} texts are longer than the context of {base.context:,} tokens and lost their "
            "oldest turns or their end"
        )
    if rendering.left_out:
        notes.append(f"{len(rendering.left_out):,} examples left out, the first: {rendering.left_out[0]}")
    if not samples:
        raise DataError(
            f"{settings.data[0]}: nothing is left to train on; {'; '.join(notes) or 'it is empty'}"
        )
    if isinstance(settings, SftSettings) and settings.pretraining:
        samples += _text(settings, base, files)
    scale, logistic = (0.0, 1.0), False
    if examples.kind == "rating":
        scale, logistic = _scale(settings, [item for item in train if isinstance(item, Rating)])
        samples, held_out = with_scores(samples, *scale), with_scores(held_out, *scale)
    return Inputs(examples.kind, samples, held_out, files, notes, scale, logistic)


def _kinds(settings: TrainSettings) -> tuple[Kind, ...]:
    match settings:
        case SftSettings():
            return ("demonstration",)
        case DpoSettings():
            return ("comparison",)
        case RewardSettings():
            return ("comparison", "ranking", "rating")
    raise NotImplementedError(type(settings).__name__)


def _read(
    settings: TrainSettings, paths: Sequence[Path], notes: list[str], kind: Kind | None = None
) -> Examples:
    wanted = _kinds(settings)
    examples = read_examples(
        *paths,
        shape=settings.shape,
        kind=kind or (wanted[0] if len(wanted) == 1 else None),
        on_bad=settings.on_bad,
        phrase=_phrase(settings),
    )
    if examples.problems:
        notes.append(f"{len(examples.problems):,} bad lines left out, the first: {examples.problems[0]}")
    for file in examples.files:
        if file.unused:
            notes.append(f"{file.path}: columns without use: {', '.join(sorted(file.unused))}")
    return examples


def _phrase(settings: TrainSettings) -> Phrase:
    if settings.phrasing is None:
        return plain_phrase
    path = None if settings.phrasing == "default" else Path(settings.phrasing)
    return read_phrasings(path).phrase(settings.seed)


def _filtered(settings: TrainSettings, examples: Examples, base: Base, notes: list[str]) -> Examples:
    filters = FilterSettings(
        min_answer=settings.min_answer,
        max_answer=settings.max_answer,
        max_prompt=settings.max_prompt,
        copies=settings.copies,
        duplicates=not settings.duplicates,
        near_duplicates=settings.near_duplicates,
    )
    kept, report = filter_examples(examples, filters, base.tokenizer)
    notes += [f"{count:,} examples left out: {reason}" for reason, count in report.counts.items()]
    return kept


def _text(settings: SftSettings, base: Base, files: list[dict[str, Any]]) -> list[Sample]:
    found: list[Sample] = []
    for path in settings.pretraining:
        blocks = read_text([path], base.tokenizer, base.context)
        found += text_samples(blocks, str(path))
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        files.append({"path": str(path), "sha256": digest, "examples": len(blocks)})
    return found


def _scale(settings: TrainSettings, ratings: Sequence[Rating]) -> tuple[tuple[float, float], bool]:
    """By what ratings are moved and divided, and whether they are learnt as probabilities."""
    scores = [rating.score for rating in ratings]
    unit = all(0 <= score <= 1 for score in scores)
    how = cast(RewardSettings, settings).pointwise
    if how == "logistic" and not unit:
        bad = next(rating for rating in ratings if not 0 <= rating.score <= 1)
        raise DataError(
            f"{bad.source}: score is {bad.score:g}; --pointwise logistic needs scores from 0 to 1"
        )
    if how == "logistic" or (how == "auto" and unit):
        return (0.0, 1.0), True
    mean = sum(scores) / len(scores)
    spread = (sum((score - mean) ** 2 for score in scores) / len(scores)) ** 0.5
    return (mean, spread or 1.0), False


def digest(samples: Sequence[Sample]) -> str:
    """A hash of all that a trainer sees of its samples."""
    whole = hashlib.sha256()
    for sample in samples:
        texts = [(text.ids, text.mask) for text in sample.texts]
        whole.update(
            repr((texts, sample.margin, sample.confidence, sample.score, sample.pretraining)).encode()
        )
    return whole.hexdigest()
