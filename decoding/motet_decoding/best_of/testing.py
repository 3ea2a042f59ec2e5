"""For tests: a source of candidates that follows a script, without an engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from motet_decoding.best_of.candidate import Candidate

#: The token that ends an answer.
END = 0

#: What follows a beginning ("" for none), for an index and a part; the answer then ends by itself.
Script = Callable[[str, int, int], str]

#: How many turns of the event loop a draw of an index and a part takes.
Delay = Callable[[int, int], int]


class ScriptedSource:
    """A ``Source`` whose tokens are characters and a last one, ``END``, that has no text.

    Args:
        script: what it says; or its answers by index, whatever the part.
        most: the most tokens of a candidate.
        delay: in which order candidates arrive.

    Attributes:
        tokens: how many it has drawn.
        draws: index, part and tokens asked for, as they came.
        running: draws under way.
        most_running: the most there were at a time.
    """

    def __init__(
        self, script: Script | Mapping[int, str], *, most: int = 100, delay: Delay | None = None
    ) -> None:
        self.most = most
        self.tokens = 0
        self.draws: list[tuple[int, int, int | None]] = []
        self.running = 0
        self.most_running = 0
        self._script = script if callable(script) else _following(script)
        self._delay = delay

    async def draw(
        self,
        index: int,
        *,
        after: Candidate | None = None,
        part: int = 0,
        tokens: int | None = None,
        until: str = "",
    ) -> Candidate:
        """See ``Source.draw``.

        Raises:
            ValueError: where the caller breaks the contract: goes on from a finished candidate, draws the same part of
                an index twice, or asks for no token.
        """
        begun = Candidate(index, "", ()) if after is None else after
        left = self.most - len(begun.token_ids)
        allowed = left if tokens is None else min(tokens, left)
        if begun.finish_reason is not None:
            raise ValueError(f"candidate {begun.index} is finished")
        if allowed < 1:
            raise ValueError(f"{allowed} tokens of candidate {index}")
        if any((index, part) == (drawn, of) for drawn, of, _ in self.draws):
            raise ValueError(f"part {part} of candidate {index} was drawn before, with the same seed")
        self.draws.append((index, part, tokens))
        await self._wait(index, part)
        text = self._script(begun.text, index, part)
        ids = (*map(ord, text), END)
        step = text.find(until) + len(until) if until and until in text else len(ids)
        length = min(len(ids), allowed, step)
        self.tokens += length
        token_ids = begun.token_ids + ids[:length]
        # Like an engine, it stops at the text even where there is room for nothing behind it.
        full = len(token_ids) == self.most and length != step
        reason = "stop" if length == len(ids) else "length" if full else None
        return Candidate(index, begun.text + text[:length], token_ids, reason)

    async def _wait(self, index: int, part: int) -> None:
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            for _ in range(self._delay(index, part) if self._delay else 0):
                await asyncio.sleep(0)
        finally:
            self.running -= 1


def _following(answers: Mapping[int, str]) -> Script:
    return lambda begun, index, part: answers[index][len(begun) :]
