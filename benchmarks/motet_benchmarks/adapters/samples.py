"""What is asked, swapped and read off while the load runs."""

from __future__ import annotations

from dataclasses import dataclass

#: What a request asks for: the name, whichever version that is now; one version by its number; the base; or one token
#: of the name, again and again, to see a swap as soon as it is there. A listing is GET /v1/adapters.
CURRENT, PINNED, BASE, PROBE, LISTING = "current", "pinned", "base", "probe", "listing"

#: The two arms, which take turns.
WITHOUT, WITH = "without swaps", "with swaps"
ARMS = (WITHOUT, WITH)


@dataclass(frozen=True, slots=True)
class Reply:
    """One request and what came of it. Moments are seconds on one clock that only grows."""

    asked: str
    model: str
    """The name in the request."""
    prompt: int
    """Which of the prompts."""
    sent: float
    first: float | None
    """When its first token came."""
    ended: float
    version: str | None
    """NAME@VERSION, of which the server says that it answered; None if it names none."""
    tokens: tuple[int, ...]
    problem: str | None = None
    """Why this is no whole answer: a status, a broken connection, a time that ran out."""


@dataclass(frozen=True, slots=True)
class Swap:
    """One publication, by which the name came to mean another version."""

    number: int
    """0 is the version that was there at the start."""
    reference: str
    begun: float
    """When publish() was called."""
    published: float
    """When it returned."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The server at one moment."""

    moment: float
    swaps: int
    """Published before it."""
    memory: int | None
    """Resident bytes of all its processes; None where they can't be seen from here."""
    loaded: int
    """Versions of adapters that it says its engine holds."""


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of one arm."""

    arm: str
    round: int
    begun: float
    ended: float


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything that was seen."""

    replies: tuple[Reply, ...]
    swaps: tuple[Swap, ...]
    readings: tuple[Reading, ...]
    phases: tuple[Phase, ...]
    stopped: str | None = None
    """Why it ended before its plan, if it did."""
    cached: float | None = None
    """The part of the prompts' tokens that the server found in its prefix cache; None if it doesn't say."""
