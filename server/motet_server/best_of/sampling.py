"""What vLLM has made of a request's sampling, defaults of the model's included, held against its ``best_of``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from motet_decoding.best_of.bound import fewest_tokens
from motet_decoding.best_of.request import BestOf
from motet_decoding.errors import RequestError

#: Fields that leave one token to draw: where, whether a value does, and what a better one is. vLLM draws greedily below
#: this temperature.
_ALIKE: Mapping[str, tuple[int, Callable[[float], bool], str]] = {
    "temperature": (0, lambda value: value < 1e-5, "higher"),
    "top_k": (1, lambda value: value == 1, "higher"),
    "min_p": (1, lambda value: value >= 1.0, "lower"),
}


def check_sampling(best_of: BestOf, sampling: Any) -> None:
    """Refuses what can't be honoured.

    Args:
        best_of: the request's.
        sampling: vLLM's ``SamplingParams``.

    Raises:
        RequestError: candidates that would all be the same, a bound that leaves them no token, or a grammar for
            answers that are drawn in parts.
    """
    check_varied(best_of.n, {field: getattr(sampling, field) for field in _ALIKE})
    for name, way in (("reject", best_of.reject), ("steps", best_of.steps)):
        if way is None:
            continue
        if sampling.structured_outputs is not None:
            # Fields that ask for a grammar are refused before; what is left is vLLM's own, for strict tools.
            raise RequestError(
                "tools",
                f"strict ones can't be combined with best_of.{name}: a grammar would begin anew with each part",
            )
        bound = way.max_total_tokens
        if bound is not None and bound < (fewest := fewest_tokens(best_of, sampling.max_tokens)):
            raise RequestError(
                f"best_of.{name}.max_total_tokens",
                f"{best_of.n} candidates take at least {fewest} tokens to be looked at once, got {bound}",
            )


def check_varied(n: int, said: Mapping[str, Any]) -> None:
    """Refuses what would draw the same candidate ``n`` times.

    Args:
        n: the candidates.
        said: fields of a body, or of sampling; what is no number is vLLM's to refuse.

    Raises:
        RequestError: naming the field.
    """
    for field, (at, alike, other) in _ALIKE.items():
        value = said.get(field)
        if n > 1 and isinstance(value, int | float) and not isinstance(value, bool) and alike(value):
            raise RequestError(
                field, f"at {at} all {n} candidates of best_of would be the same; give a {other} one"
            )
