"""What a candidate answers, for a vote: the last match of a regular expression, or its last number.

The expression is the client's, so it is RE2 that matches it: its time is linear in the text, whatever the expression.
Looking for the *last* match is several searches, each of which may read to the end of the text; the time of all of them
has a bound of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import re2  # type: ignore[import-untyped,unused-ignore]

from motet_decoding.best_of.number import last_number
from motet_decoding.best_of.scorer import ScorerError

#: Bytes that RE2 may use for one expression, and the instructions that it may have; each of them may be looked at for
#: each byte of a text.
_MEMORY, _INSTRUCTIONS = 8 * 2**20, 4000

#: Seconds of a processor that the texts of one vote may take.
SECONDS = 1.0


class Extractor:
    """Finds answers.

    Args:
        pattern: a regular expression in RE2's syntax; numbers are looked for without one.

    Raises:
        ValueError: it doesn't compile, or is too large.
    """

    def __init__(self, pattern: str | None, seconds: float = SECONDS) -> None:
        self._expression = None if pattern is None else _compiled(pattern)
        self._seconds = seconds

    def answer(self, text: str) -> str | None:
        """What ``text`` answers: the last match that isn't empty, or its first group that took part if it has groups.

        Raises:
            ScorerError: the expression takes too long on this text.
        """
        return self._answer(text, time.thread_time() + self._seconds)

    async def answers(self, texts: Sequence[str]) -> list[str | None]:
        """``answer`` of each, in a thread: other requests go on meanwhile.

        Raises:
            ScorerError: the expression takes too long on these texts.
        """

        def find() -> list[str | None]:
            end = time.thread_time() + self._seconds
            return [self._answer(text, end) for text in texts]

        return await asyncio.to_thread(find)

    def _answer(self, text: str, end: float) -> str | None:
        if self._expression is None:
            return last_number(text)
        answer = None
        # Halves of characters can't be given to RE2, and no tokenizer writes them on purpose.
        for match in self._expression.finditer(text.encode(errors="replace").decode()):
            found = next((group for group in match.groups() if group is not None), None)
            if not self._expression.groups:
                found = match.group()
            answer = (found or "").strip() or answer
            if time.thread_time() > end:
                raise ScorerError("takes too long on these candidates; write a simpler one")
        return answer


def _compiled(pattern: str) -> re2._Regexp:
    options = re2.Options()
    options.max_mem = _MEMORY
    options.log_errors = False
    try:
        # Not re2.compile, which would keep the last 128 clients' expressions in memory.
        expression = re2._Regexp(pattern, options)
    except re2.error as error:
        reason = error.args[0]
        told = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"isn't a regular expression in RE2's syntax: {told}") from None
    except UnicodeEncodeError:
        raise ValueError("isn't a regular expression: it holds half of a character") from None
    if expression.programsize > _INSTRUCTIONS:
        raise ValueError("is too large an expression; use fewer or smaller repetitions and classes")
    return expression
