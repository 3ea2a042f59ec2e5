"""Sample answers as people are shown them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from rich.console import Console
from rich.text import Text

from motet_alignment.train.ppo.rollout import Rollout

_LINES = 3
_NAME = len("prompt  ")


@dataclass(frozen=True, slots=True)
class SampleAnswer:
    """An answer with its judgement."""

    source: str
    #: The prompt's last turn.
    prompt: str
    answer: str
    ended: bool
    total: float
    #: Each reward's own judgement, by its name, and penalties.
    parts: Mapping[str, float]

    @classmethod
    def of(cls, rollout: Rollout, total: float, parts: Mapping[str, float]) -> Self:
        """An answer and its judgement."""
        last = rollout.prompt.messages[-1].content
        return cls(rollout.prompt.source, last, rollout.text, rollout.ended, total, dict(parts))


def spread(samples: Sequence[SampleAnswer], count: int) -> list[SampleAnswer]:
    """`count` (two or more) from the highest reward to the lowest, at even distances; all where there are no more."""
    ranked = sorted(samples, key=lambda sample: -sample.total)
    if len(ranked) <= count:
        return ranked
    return [ranked[round(place * (len(ranked) - 1) / (count - 1))] for place in range(count)]


def block(samples: Sequence[SampleAnswer], width: int) -> Text:
    """Prompt, answer and reward of each, no more than three lines of `width` cells for each of them."""
    shown = Text()
    for place, sample in enumerate(samples):
        shown.append("\n" if place else "")
        judged = ", ".join(f"{name} {value:.3g}" for name, value in sample.parts.items())
        for name, text, style in (
            ("prompt", sample.prompt, "dim"),
            ("answer", sample.answer + ("" if sample.ended else " [cut off]"), ""),
            ("reward", f"{sample.total:.3f}" + (f" ({judged})" if judged else ""), "cyan"),
        ):
            for number, line in enumerate(_lines(text, max(width - _NAME - 2, 10))):
                shown.append(f"  {'' if number else name:{_NAME}}", "bold")
                shown.append(f"{line}\n", style)
    shown.right_crop(1)
    return shown


def _lines(text: str, width: int) -> list[str]:
    """In lines of `width` cells; an ellipsis where there would be more."""
    # Answers may hold what moves a terminal's cursor.
    plain = "".join(
        sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in " ".join(text.split())
    )
    # Cut before it is wrapped: a cell holds one sign or half of one.
    lines = [
        line.plain.rstrip() for line in Text(plain[: width * (_LINES + 1)]).wrap(Console(width=width), width)
    ]
    if len(lines) > _LINES:
        last = Text(lines[_LINES - 1] + " ")
        last.append("…")
        last.truncate(width, overflow="ellipsis")
        return [*lines[: _LINES - 1], last.plain]
    return lines
