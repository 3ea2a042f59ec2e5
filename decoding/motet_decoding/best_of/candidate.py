"""What is judged: the question, and the candidates for its answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Question:
    """What all candidates answer.

    Attributes:
        prompt_ids: the prompt's tokens, as the engine reads them.
        messages: the conversation, as the client sent it; None where the prompt is a text.
        prompt: the prompt's text, where the server has it.
        continued: the candidates go on with the last of the messages instead of answering it.
        model: the name of what answers.
    """

    prompt_ids: tuple[int, ...]
    messages: tuple[Mapping[str, Any], ...] | None = None
    prompt: str | None = None
    continued: bool = False
    model: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One answer, or the beginning of one.

    Attributes:
        index: its place among the candidates, from 0; never changes.
        text: as the client would read it.
        token_ids: everything generated, the token that ended it included.
        finish_reason: vLLM's (`stop`, `length`, ...); None for the beginning of an answer.
        logprobs: of each token under the answering model alone; None unless a scorer needs them.
        certainty: mean over the tokens of KL(uniform || p) in nats; None unless a scorer needs it.
        stop_reason: the stop string or token id that ended it.
        entries: the engine's own log-probabilities, for the response; one a token.
        pieces: the engine's outputs in their order, for the response.
    """

    index: int
    text: str
    token_ids: tuple[int, ...]
    finish_reason: str | None = None
    logprobs: tuple[float, ...] | None = None
    certainty: float | None = None
    stop_reason: int | str | None = None
    entries: tuple[Any, ...] | None = field(default=None, repr=False)
    pieces: tuple[Any, ...] = field(default=(), repr=False)


Need = Literal["logprobs", "certainty"]


def seed_of(seed: int | None, index: int, part: int = 0) -> int | None:
    """The seed of a candidate (or of a later part of one), derived from the request's.

    The first candidate has the request's own, so that one candidate is what plain decoding gives. The others' are
    hashed: seeds that follow each other would give two requests with neighbouring seeds the same candidates.

    Args:
        seed: the request's, None for none.
        index: the candidate's.
        part: 0 for its first part.

    Returns:
        A number below 2^63.
    """
    if seed is None or (index == 0 and part == 0):
        return seed
    digest = blake2b(f"{seed}/{index}/{part}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def total_tokens(candidates: Sequence[Candidate]) -> int:
    """How many tokens were generated for them."""
    return sum(len(candidate.token_ids) for candidate in candidates)
