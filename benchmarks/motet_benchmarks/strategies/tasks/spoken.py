"""What a model says, apart from what it has thought before."""

from __future__ import annotations

_OPENS, _CLOSES = "<think>", "</think>"


def spoken(text: str) -> str:
    """`text` without the thoughts before it, which endpoints without a parser for them leave in the answer.

    Some chat templates open the thoughts in the prompt, so that only their end is seen. Where an answer was cut within
    them nothing was said.
    """
    _, closed, said = text.rpartition(_CLOSES)
    if closed:
        return said
    return "" if text.lstrip().startswith(_OPENS) else text
