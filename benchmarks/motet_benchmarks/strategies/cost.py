"""What an answer has cost, from what the endpoint says of it: tokens drawn, tokens read by scorers, tokens computed.

The unit is one token passed through one model. A voice that is a sequence of its own (the base, an adapter, another
prompt) reads its prompt and every token of the answer, and so does an amateur, although it is a smaller model: it
counts as one more all the same, since nobody tells by how much it is smaller. Layers are read off the answer's own
pass and cost none. Candidates of one prompt share it, as a prefix cache lets them; scorers read prompt and answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from motet_decoding.best_of.judge import read_judge, read_terms

#: How often a scorer has a candidate and its prompt read, by the word before its colon. The others look at what was
#: computed anyway, or aren't models of the endpoint.
READS: Mapping[str, int] = {"reward": 1, "implicit": 2}


@dataclass(frozen=True, slots=True)
class Cost:
    """Tokens."""

    answer: int
    """Of the answer that was returned."""
    generated: int
    """Drawn, all candidates together."""
    scored: int
    """Read by the scorer that chose."""
    forwards: int
    """Computed by all models and voices."""


def cost_of(prompt_tokens: int, completion_tokens: int, told: Mapping[str, Any], *, pieces: int = 0) -> Cost:
    """The cost of one answer.

    With early rejection and steps it is the least that it can have been: how often partial answers were read is told
    by nobody, so each candidate is counted as read once.

    Args:
        prompt_tokens: of the usage.
        completion_tokens: of the usage; with best-of those of all candidates.
        told: the answer's ``motet`` field, empty where the endpoint has none.
        pieces: parts of the stream with text, which stand for the answer's tokens where a best-of doesn't tell them.

    Raises:
        KeyError, TypeError, ValueError: ``told`` isn't what a motet server says.
    """
    best_of = told.get("best_of")
    generated = int(best_of["tokens"]) if best_of else completion_tokens
    scored = _scored(best_of, prompt_tokens, generated) if best_of else 0
    prompts = [prompt_tokens, *_voices(told.get("contrast"), prompt_tokens)]
    return Cost(
        answer=_answer(best_of, generated, pieces) if best_of else completion_tokens,
        generated=generated,
        scored=scored,
        forwards=sum(prompts) + len(prompts) * generated + scored,
    )


def _answer(best_of: Mapping[str, Any], generated: int, pieces: int) -> int:
    chosen = best_of["choices"][0]
    for text in best_of.get("texts", ()):
        if text["index"] == chosen:
            return int(text["tokens"])
    return pieces or round(generated / max(1, int(best_of["candidates"])))


def _scored(best_of: Mapping[str, Any], prompt_tokens: int, generated: int) -> int:
    judge = read_judge(str(best_of["by"]))
    terms = () if judge.scorer is None else read_terms(judge.scorer)
    reads = sum(READS.get(term.name.partition(":")[0], 0) for term in terms)
    return reads * (int(best_of["candidates"]) * prompt_tokens + generated)


def _voices(contrast: Any, prompt_tokens: int) -> Iterator[int]:
    """The prompts' tokens of the voices that are read as sequences or models of their own."""
    if not contrast or not (contrast.get("strength", 1.0) or contrast.get("plausibility", 1.0)):
        return
    against = contrast.get("against", "amateur")
    for each in against if isinstance(against, list) else [{"voice": against}]:
        voice = each["voice"]
        if each.get("weight", 1.0) == 0.0 or (
            isinstance(voice, Mapping) and ("layer" in voice or "layers" in voice)
        ):
            continue
        yield int(voice.get("prompt_tokens", prompt_tokens)) if isinstance(voice, Mapping) else prompt_tokens
