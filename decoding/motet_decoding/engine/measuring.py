"""Self-certainty where the logits are: measured in the steps that draw, kept by token, told when it is asked for.

Kang et al. 2025, of one token's logits z over V tokens:

    KL(uniform || p) = logsumexp(z) - mean(z) - log V

Nothing waits for the device in a step: where a value is kept is known to the host, what it is only to the device.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from motet_decoding.engine.vllm_private import to_device

if TYPE_CHECKING:
    from motet_decoding.engine.arguments import Reading

#: Tokens whose values lie together.
PAGE = 64

#: The most values a worker keeps: 64 MiB of its device's memory.
MOST_KEPT = 2**24

#: Pages made at first; twice as many whenever they don't do.
_FIRST_PAGES = 256

#: Logits turned into float32 at a time: another 64 MiB for a moment, of which samplers take more right after.
_AT_ONCE = 2**24


@dataclass(frozen=True, slots=True)
class Rows:
    """What is done with some of a step's logits beside sampling from them.

    Attributes:
        scored: rows that tell a reward instead, and the files of their heads.
        measured: rows whose certainty is kept: the name to keep it under, and which token of the answer they draw.
        read: rows that tell what was kept.
    """

    scored: Sequence[tuple[int, Path]] = ()
    measured: Sequence[tuple[int, str, int]] = ()
    read: Sequence[tuple[int, Reading]] = ()


NO_ROWS = Rows()


@dataclass(slots=True, eq=False)
class _Kept:
    """One answer's values: the pages they lie in, and how many they are."""

    pages: list[int] = field(default_factory=list)
    tokens: int = 0


class Measurements:
    """The certainties of answers, by name and token.

    A token is measured again where its first draw was thrown away (a prompt read in pieces, a preempted request), and
    the last value counts. Answers whose values were told go first when room is needed, then those that got no value
    for the longest; of an answer that is gone nothing is told.

    Args:
        most: values kept at the same time.
    """

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._most_pages = most // PAGE
        self._values = torch.empty(0)
        self._free: list[int] = []
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    def keep(self, logits: torch.Tensor, measured: Sequence[tuple[int, str, int]]) -> None:
        """Measures some rows of ``logits``, [rows, vocab].

        Args:
            measured: row, name, and the token's place in the answer; below 0 for a draw inside the prompt.
        """
        self._values = self._values.to(logits.device)
        found = [(row, name, self._place(name, token)) for row, name, token in measured]
        # Making room for one answer may have cost another of this step, whose place is somebody else's now.
        places = [
            (row, place[1])
            for row, name, place in found
            if place is not None and self._kept.get(name) is place[0]
        ]
        if places:
            index = to_device(list(zip(*places, strict=True)), logits.device)
            self._values[index[1]] = certainties(logits, index[0])

    def read(self, reading: Reading) -> torch.Tensor | None:
        """The mean of an answer's first values, a scalar; None where not all of them are there."""
        kept = self._kept.get(reading.measure)
        if kept is None or reading.tokens > kept.tokens:
            return None
        self._kept.move_to_end(reading.measure, last=False)
        pages = to_device(kept.pages[: math.ceil(reading.tokens / PAGE)], self._values.device)
        return self._values.view(-1, PAGE)[pages].flatten()[: reading.tokens].double().mean()

    def _place(self, name: str, token: int) -> tuple[_Kept, int] | None:
        """Where the value of an answer's token goes; None for one that isn't kept."""
        if token < 0:
            return None
        kept = self._kept.get(name)
        if kept is None:
            if token:
                return None  # its beginning is gone
            kept = self._kept[name] = _Kept()
        self._kept.move_to_end(name)
        if token == kept.tokens and token % PAGE == 0:
            page = self._page(name)
            if page is not None:
                kept.pages.append(page)
        if token > kept.tokens or token // PAGE >= len(kept.pages):
            self._drop(name)
            return None
        kept.tokens = max(kept.tokens, token + 1)
        return kept, kept.pages[token // PAGE] * PAGE + token % PAGE

    def _page(self, name: str) -> int | None:
        """A page for the answer called ``name``; None where it has all there are."""
        pages = len(self._values) // PAGE
        if not self._free and pages < self._most_pages:
            more = min(max(pages, _FIRST_PAGES), self._most_pages - pages)
            self._values = torch.cat([self._values, self._values.new_empty(more * PAGE)])
            self._free = list(range(pages + more - 1, pages - 1, -1))
        while not self._free:
            oldest = next(iter(self._kept))
            if oldest == name:
                return None
            self._drop(oldest)
        return self._free.pop()

    def _drop(self, name: str) -> None:
        self._free += self._kept.pop(name).pages


def certainties(logits: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """The certainty of some rows of ``logits``, [rows, vocab], in nats: float32, [asked]."""
    vocab = logits.shape[1]
    parts = []
    for some in rows.split(max(1, _AT_ONCE // vocab)):
        wide = logits[some].float()
        parts.append(wide.logsumexp(-1) - wide.mean(-1) - math.log(vocab))
    return torch.cat(parts)
