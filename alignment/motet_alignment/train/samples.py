"""From data files to what a trainer takes: token ids with the tokens that carry loss marked, in two parts."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from motet_alignment.data import (
    Comparison,
    Demonstration,
    Examples,
    Item,
    Message,
    Prompt,
    Ranking,
    Rating,
    Rendered,
    render,
    render_comparison,
    render_turns,
)
from motet_alignment.errors import DataError, TrainError


@dataclass(frozen=True, slots=True)
class Text:
    """One sequence of tokens."""

    ids: list[int]
    #: 1 where the token carries loss.
    mask: list[int]


@dataclass(frozen=True, slots=True)
class Sample:
    """The unit of training: a conversation, a pair (chosen first), a ranking (best first) or a rated conversation."""

    texts: tuple[Text, ...]
    source: str
    margin: float = 0.0
    confidence: float = 1.0
    score: float = 0.0
    #: The reference policy's log-probability of each text's marked tokens; empty where there is none.
    reference: tuple[float, ...] = ()
    #: Plain text that is mixed in, rather than an example.
    pretraining: bool = False

    @property
    def longest(self) -> int:
        """Tokens of its longest text."""
        return max(len(text.ids) for text in self.texts)

    @property
    def tokens(self) -> int:
        """Tokens of all its texts."""
        return sum(len(text.ids) for text in self.texts)


@dataclass(slots=True)
class Rendering:
    """How examples became samples: what was cut or left out."""

    shortened: int = 0  # conversations that lost turns or the end of an answer
    left_out: list[str] = field(default_factory=list)

    def note(self, rendered: Rendered) -> None:
        """Counts a conversation that didn't fit whole."""
        self.shortened += bool(rendered.dropped or rendered.cut)


def make_samples(
    items: Iterable[Item],
    tokenizer: Any,
    context: int,
    *,
    rendering: Rendering,
    skip: bool = False,
    after: Callable[[], None] = lambda: None,
) -> list[Sample]:
    """Samples of at most `context` tokens a text.

    What can't be rendered raises DataError, or with `skip` is left out and noted; `after` is called for each item.
    """
    samples: list[Sample] = []
    for item in items:
        try:
            samples += _rendered(item, tokenizer, context, rendering)
        except DataError as problem:
            if not skip:
                raise
            rendering.left_out.append(str(problem))
        after()
    return samples


def _rendered(item: Item, tokenizer: Any, context: int, rendering: Rendering) -> list[Sample]:
    def text(rendered: Rendered) -> Text:
        rendering.note(rendered)
        return Text(rendered.input_ids, rendered.assistant)

    match item:
        case Demonstration():
            turns = render_turns(tokenizer, item.messages, context=context, source=item.source)
            return [Sample((text(turn),), item.source) for turn in turns]
        case Comparison():
            chosen, rejected = render_comparison(tokenizer, item, context=context)
            return [
                Sample(
                    (text(chosen), text(rejected)),
                    item.source,
                    margin=item.margin or 0.0,
                    confidence=1.0 if item.confidence is None else item.confidence,
                )
            ]
        case Rating():
            whole = render(tokenizer, item.messages, context=context, learn="last", source=item.source)
            return [Sample((text(whole),), item.source, score=item.score)]
        case Ranking():
            answers = [
                render(tokenizer, (*item.prompt, *answer), context=context, learn="last", source=item.source)
                for answer in item.answers
            ]
            return [Sample(tuple(text(answer) for answer in answers), item.source)]
        case Prompt():
            raise DataError(f"{item.source}: a prompt without an answer")


def prompt_of(item: Item) -> tuple[Message, ...]:
    """What the item asks: its turns before the last answer."""
    return item.prompt if isinstance(item, Comparison | Ranking | Prompt) else item.messages[:-1]


def prompt_key(item: Item) -> str:
    """The same for two items that ask the same."""
    asked = [(message.role, message.content) for message in prompt_of(item)]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


def split(items: Sequence[Item], share: float, seed: int) -> tuple[list[Item], list[Item]]:
    """Items to train on and to evaluate on; all that ask the same stay together, so that nothing leaks.

    At least one prompt is held out where `share` is above 0 and there are two prompts; none where there is one.
    """
    held = held_places([prompt_key(item) for item in items], share, seed)
    return (
        [item for place, item in enumerate(items) if place not in held],
        [item for place, item in enumerate(items) if place in held],
    )


def held_places(asked: Sequence[Hashable], share: float, seed: int) -> set[int]:
    """Which places are held out; those of equal values, that ask the same, together. As `split`."""
    by_prompt: dict[Hashable, list[int]] = {}
    for place, one in enumerate(asked):
        by_prompt.setdefault(one, []).append(place)
    if share <= 0 or len(by_prompt) < 2:
        return set()
    if share >= 1:
        raise TrainError("--held-out 1 leaves nothing to train on")
    keys = list(by_prompt)
    random.Random(f"held out {seed}").shuffle(keys)
    wanted = share * len(asked)
    held: set[int] = set()
    for key in keys[:-1]:
        if held and len(held) + len(by_prompt[key]) > wanted:
            break
        held.update(by_prompt[key])
    return held


def without_prompts_of(items: Sequence[Item], others: Sequence[Item]) -> list[Item]:
    """The items that ask nothing that one of `others` asks."""
    known = {prompt_key(other) for other in others}
    return [item for item in items if prompt_key(item) not in known]


def text_samples(blocks: Iterable[Sequence[int]], source: str) -> list[Sample]:
    """Samples of plain text's blocks of tokens: every token but a block's first carries loss."""
    return [Sample((Text(list(block), [1] * len(block)),), source, pretraining=True) for block in blocks]


def with_scores(samples: Sequence[Sample], center: float, spread: float) -> list[Sample]:
    """Ratings moved by `center` and divided by `spread`, so that a reward of 1 is one standard deviation."""
    return [replace(sample, score=(sample.score - center) / spread) for sample in samples]


def counted(examples: Examples) -> list[dict[str, Any]]:
    """The files as the store's manifest lists them."""
    return [
        {"path": str(file.path), "sha256": file.sha256, "examples": file.examples} for file in examples.files
    ]
