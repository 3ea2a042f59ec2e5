"""What is left out of training because it teaches nothing: too short or long, copies, duplicates."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from motet_alignment.data.items import (
    Comparison,
    Demonstration,
    Examples,
    Item,
    Message,
    Prompt,
    Ranking,
    Rating,
)
from motet_alignment.data.template import token_ids

if TYPE_CHECKING:
    from datasketch import MinHash, MinHashLSH

_WORD = re.compile(r"\w+")
_PERMUTATIONS = 128


class FilterSettings(BaseModel):
    """Which examples are left out. Lengths are in tokens of the text itself, without the chat template's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_prompt: int = Field(default=0, ge=0, description="Fewest tokens of the last prompt turn.")
    max_prompt: int | None = Field(
        default=None, ge=1, description="Most tokens of all turns before the answer."
    )
    min_answer: int = Field(default=0, ge=0, description="Fewest tokens of an answer.")
    max_answer: int | None = Field(default=None, ge=1, description="Most tokens of an answer.")
    copies: float | None = Field(
        default=0.9,
        gt=0,
        le=1,
        description="Leave out answers that share this part of their three-word sequences with the prompt's last "
        "turn (Jaccard); None keeps them.",
    )
    duplicates: bool = Field(default=True, description="Leave out what stands word for word before.")
    near_duplicates: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Leave out what shares this part of its three-word sequences with an example before (Jaccard); "
        "None keeps them.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> FilterSettings:
        for low, high, name in (
            (self.min_prompt, self.max_prompt, "prompt"),
            (self.min_answer, self.max_answer, "answer"),
        ):
            if high is not None and low > high:
                raise ValueError(f"min_{name} {low} is more than max_{name} {high}")
        return self

    @property
    def counts_tokens(self) -> bool:
        """Whether a tokenizer is needed."""
        return bool(self.min_prompt or self.min_answer or self.max_prompt or self.max_answer)


@dataclass(frozen=True)
class FilterReport:
    """What was left out, and why."""

    examined: int
    kept: int
    #: The sources of what was left out, by reason.
    dropped: dict[str, list[str]] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """How many were left out, by reason."""
        return {reason: len(sources) for reason, sources in self.dropped.items()}


def filter_examples(
    examples: Examples,
    settings: FilterSettings,
    tokenizer: Any = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[Examples, FilterReport]:
    """The examples that `settings` keep, in their order, and a report on the rest.

    Each example is left out for the first reason that holds. `tokenizer` is needed where a length is bounded.
    `progress` is called with 1 for each example. Raises ValueError for a missing tokenizer.
    """
    if settings.counts_tokens and tokenizer is None:
        raise ValueError("bounds on length need a tokenizer")
    kept: list[Item] = []
    dropped: dict[str, list[str]] = {}
    filters = _Filters(settings, tokenizer)
    for item in examples.items:
        reason = filters.against(item)
        if reason is None:
            kept.append(item)
        else:
            dropped.setdefault(reason, []).append(item.source)
        if progress is not None:
            progress(1)
    report = FilterReport(examined=len(examples.items), kept=len(kept), dropped=dropped)
    return examples.model_copy(update={"items": tuple(kept)}), report


class _Filters:
    def __init__(self, settings: FilterSettings, tokenizer: Any) -> None:
        self._settings, self._tokenizer = settings, tokenizer
        self._seen: set[str] = set()
        self._near = None if settings.near_duplicates is None else _NearDuplicates(settings.near_duplicates)

    def against(self, item: Item) -> str | None:
        """Why the item is left out, if it is."""
        settings = self._settings
        prompt, answers = parts(item)
        if settings.counts_tokens and (reason := self._length(prompt, answers)):
            return reason
        if settings.copies is not None and any(
            copies(prompt[-1].content, answer, settings.copies) for answer in answers
        ):
            return "the answer copies the prompt"
        whole = "\n".join([*(f"{turn.role}: {turn.content}" for turn in prompt), *answers])
        if settings.duplicates:
            if whole in self._seen:
                return "duplicate"
            self._seen.add(whole)
        if self._near is not None and self._near.like_one_before(whole):
            return "near-duplicate"
        return None

    def _length(self, prompt: Sequence[Message], answers: Sequence[str]) -> str | None:
        settings = self._settings
        if settings.min_prompt and self._tokens(prompt[-1].content) < settings.min_prompt:
            return "prompt too short"
        if settings.max_prompt and sum(self._tokens(turn.content) for turn in prompt) > settings.max_prompt:
            return "prompt too long"
        lengths = [self._tokens(answer) for answer in answers]
        if min(lengths, default=settings.min_answer) < settings.min_answer:
            return "answer too short"
        if settings.max_answer and max(lengths, default=0) > settings.max_answer:
            return "answer too long"
        return None

    def _tokens(self, text: str) -> int:
        return len(token_ids(self._tokenizer, text))


def parts(item: Item) -> tuple[tuple[Message, ...], list[str]]:
    """The turns before the last answer, and the answers that the item holds, as text."""
    match item:
        case Demonstration() | Rating():
            return item.messages[:-1], [item.messages[-1].content]
        case Comparison():
            return item.prompt, [_joined(item.chosen), _joined(item.rejected)]
        case Ranking():
            return item.prompt, [_joined(answer) for answer in item.answers]
        case Prompt():
            return item.prompt, []


def copies(prompt: str, answer: str, threshold: float) -> bool:
    """Whether the answer says the prompt again: the same words, or this share of three-word sequences in common."""
    asked, said = words(prompt), words(answer)
    return asked == said or jaccard(shingles(asked), shingles(said)) >= threshold


def words(text: str) -> list[str]:
    """The words of a text in lower case; the text itself where it has none."""
    return _WORD.findall(text.casefold()) or [text.strip()]


def shingles(sequence: Sequence[str], size: int = 3) -> set[tuple[str, ...]]:
    """Every run of `size` words; all of a shorter text as one."""
    return {tuple(sequence[place : place + size]) for place in range(max(1, len(sequence) - size + 1))}


def jaccard(one: set[tuple[str, ...]], other: set[tuple[str, ...]]) -> float:
    """The share of both sets' members that are in both."""
    return len(one & other) / len(one | other)


class _NearDuplicates:
    """Finds candidates by MinHash and decides by the true Jaccard similarity, so that chance drops nothing."""

    def __init__(self, threshold: float) -> None:
        from datasketch import MinHashLSH

        self._threshold = threshold
        # Missing a duplicate can't be made good later, a false candidate can: so the index is set a little lower.
        self._index: MinHashLSH = MinHashLSH(threshold=threshold, num_perm=_PERMUTATIONS, weights=(0.2, 0.8))
        self._texts: list[str] = []

    def like_one_before(self, text: str) -> bool:
        """Whether the text resembles one that came before; if not, it is one that comes before from now on."""
        own = shingles(words(text))
        signature = _signature(own)
        for place in self._index.query(signature):
            if jaccard(own, shingles(words(self._texts[int(place)]))) >= self._threshold:
                return True
        self._index.insert(str(len(self._texts)), signature)
        self._texts.append(text)
        return False


def _signature(members: Iterable[tuple[str, ...]]) -> MinHash:
    from datasketch import MinHash

    signature = MinHash(num_perm=_PERMUTATIONS, seed=1)
    signature.update_batch([" ".join(member).encode() for member in members])
    return signature


def _joined(answer: Sequence[Message]) -> str:
    return "\n".join(turn.content for turn in answer)
