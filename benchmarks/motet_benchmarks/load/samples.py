"""What becomes of one request."""

from __future__ import annotations

from dataclasses import dataclass

#: A sample's outcome where the whole answer came; any other names the failure.
ANSWERED = "answered"
#: Kinds of failure beside `status NNN`: too late, and no connection, a broken one or no OpenAI answer.
TIMEOUT, BROKEN = "timeout", "no whole answer"


@dataclass(frozen=True, slots=True)
class Sample:
    """One request: a line of load.csv. Moments are seconds after the start of its turn's measured part.

    Those that were due before it or after it have kept the server busy, and count for nothing else.
    """

    step: int
    turn: int
    """Which stretch of load without a pause; each server has it once."""
    server: str
    member: str
    number: int
    """Which arrival of the turn, from zero; the same one for every server."""
    due: float
    """Negative while the server warms up."""
    late: float
    """Seconds after it was due at which the client turned to it."""
    held: float
    """Seconds that it waited then since too many requests were open."""
    seconds: float
    """From when it was due to its last byte, or to its failure."""
    first_token: float | None
    """Seconds from when it was due to its first token; none unstreamed or without one."""
    per_token: float | None
    """Seconds for each further token; none unstreamed or with one token."""
    prompt_tokens: int
    tokens: int
    outcome: str
    """ANSWERED, or the kind of failure."""
    at_once: bool = False
    """Whether a stream was asked for and nothing of it came before its end, so that its first token came with the last.
    """
    counted: bool = False
    """Whether the server didn't tell its tokens, which are the pieces of its stream then."""

    @property
    def end(self) -> float:
        """The moment of its last byte or failure."""
        return self.due + self.seconds

    @property
    def answered(self) -> bool:
        """Whether the whole answer came."""
        return self.outcome == ANSWERED
