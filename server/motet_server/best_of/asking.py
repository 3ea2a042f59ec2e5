"""What a body asks of best-of-N, taken out of it and held against everything else that it asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from motet_decoding.best_of.request import BestOf, parse_best_of
from motet_decoding.errors import RequestError
from motet_server.best_of.sampling import check_varied
from motet_server.bounds import count_prompts
from motet_server.settings import ServerSettings

_FIELD = "best_of"

#: Fields that candidates can't be drawn with, and why.
_NOT_WITH_CANDIDATES = {
    "use_beam_search": "beams are drawn and chosen by the engine",
    "prompt_embeds": "a scorer can't read embeddings",
    "kv_transfer_params": "candidates share one prompt's cache",
    "ec_transfer_params": "candidates share one prompt's cache",
}

#: Fields whose state would be lost where an answer is drawn in parts, and why.
_NOT_IN_PARTS = {
    "presence_penalty": "each part would begin to count anew",
    "frequency_penalty": "each part would begin to count anew",
    "bad_words": "a word across two parts would be missed",
    "repetition_detection": "a repetition across two parts would be missed",
    "thinking_token_budget": "each part would have all of it",
    "structured_outputs": "a grammar would begin anew with each part",
    "prompt_logprobs": "ask for them without it",
}

#: Those of them that say something at 0, too.
_MEANT_AT_ZERO = frozenset({"prompt_logprobs", "thinking_token_budget"})


def take_best_of(
    body: dict[str, Any],
    route: Literal["chat", "completions"],
    settings: ServerSettings,
    preset: BestOf | None,
) -> BestOf | None:
    """Takes ``best_of`` out of ``body`` and puts the choices that it returns in the place of ``n``.

    On /v1/completions an integer is OpenAI's: so many candidates, of which the ``n`` with the highest log-likelihood
    per token are returned. Elsewhere it stands for an object with that many.

    Raises:
        RequestError: naming the field that can't be honoured.
    """
    value = body.pop(_FIELD, None)
    if value is False or (value is None and preset is None):
        return None
    openai = isinstance(value, int) and not isinstance(value, bool)
    wanted = _wanted(body)
    if openai and route == "completions":
        if value == wanted == 1 and preset is None:
            return None
        if value < wanted:
            raise RequestError(_FIELD, f"must be at least n, which is {wanted}, got {value}")
        best_of = parse_best_of({"n": value, "by": "likelihood", "return": wanted})
    else:
        defaults = {"by": settings.best_of_by, **({} if preset is None else preset.given)}
        if openai:
            value = {"n": value, **({} if wanted == 1 else {"return": wanted})}
        elif wanted > 1 and (not isinstance(value, dict) or value.get("return") != wanted):
            raise RequestError("n", f"how many of the candidates are returned is said by {_FIELD}.return")
        best_of = parse_best_of({} if value is None else value, defaults)
    _check_amount(body, best_of, settings, named=_FIELD if openai else f"{_FIELD}.n", asked=value is not None)
    _check_honoured(body, best_of)
    if best_of.return_ > 1:
        body["n"] = best_of.return_
    return best_of


def _wanted(body: Mapping[str, Any]) -> int:
    """How many choices the body asks for by OpenAI's `n`."""
    choices = body.get("n")
    if choices is None:
        return 1
    if not isinstance(choices, int) or isinstance(choices, bool) or choices < 1:
        raise RequestError("n", f"must be a whole number from 1 on, got {choices!r:.60}")
    return choices


def _check_amount(
    body: Mapping[str, Any], best_of: BestOf, settings: ServerSettings, *, named: str, asked: bool
) -> None:
    prompts, most = count_prompts(body), settings.max_candidates
    if best_of.n * prompts > most:
        over = f" for each of {prompts} prompts" if prompts > 1 else ""
        raise RequestError(
            (named if best_of.n > 1 else "prompt") if asked else "model",
            f"asks for {best_of.n} candidates{over}; this server draws {most} for a request (--max-candidates)",
        )


def _check_honoured(body: Mapping[str, Any], best_of: BestOf) -> None:
    for field, reason in _NOT_WITH_CANDIDATES.items():
        if body.get(field):
            raise RequestError(field, f"can't be combined with {_FIELD}: {reason}")
    if best_of.provisional and not body.get("stream"):
        raise RequestError(f"{_FIELD}.provisional", "only a stream can tell of them; ask for stream: true")
    if body.get("add_generation_prompt") is False and not body.get("continue_final_message"):
        raise RequestError(
            "add_generation_prompt",
            f"what {_FIELD} judges is an answer, which must be begun, or gone on with (continue_final_message)",
        )
    if body.get("echo") and body.get("max_tokens") == 0:
        raise RequestError("max_tokens", f"at 0 there is no answer that {_FIELD} could choose")
    check_varied(best_of.n, body)
    way = "reject" if best_of.reject is not None else "steps" if best_of.steps is not None else None
    if way is None:
        return
    for field, reason in _NOT_IN_PARTS.items():
        if (value := body.get(field)) or (field in _MEANT_AT_ZERO and value is not None):
            raise RequestError(field, f"can't be combined with {_FIELD}.{way}: {reason}")
    response_format = body.get("response_format")
    if isinstance(response_format, dict) and response_format.get("type") != "text":
        raise RequestError(
            "response_format", f"can't be combined with {_FIELD}.{way}: {_NOT_IN_PARTS['structured_outputs']}"
        )
    if body.get("tools") and body.get("tool_choice") not in (None, "auto", "none"):
        raise RequestError(
            "tool_choice", f"can't be combined with {_FIELD}.{way}: {_NOT_IN_PARTS['structured_outputs']}"
        )
