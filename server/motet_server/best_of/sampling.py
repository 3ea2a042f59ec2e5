"""What vLLM has made of a request's sampling, defaults of the model's included, held against its ``best_of``."""

from __future__ import annotations

from typing import Any

from motet_decoding.best_of.bound import fewest_tokens
from motet_decoding.best_of.request import BestOf
from motet_decoding.errors import RequestError

#: vLLM draws greedily below this temperature.
_GREEDY = 1e-5


def check_sampling(best_of: BestOf, sampling: Any) -> None:
    """Refuses what can't be honoured.

    Args:
        best_of: the request's.
        sampling: vLLM's ``SamplingParams``.

    Raises:
        RequestError: candidates that would all be the same, a bound that leaves them no token, or a grammar for
            answers that are drawn in parts.
    """
    if best_of.n > 1:
        _check_varied(best_of.n, sampling)
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


def _check_varied(n: int, sampling: Any) -> None:
    for field, at, alike, other in (
        ("temperature", 0, sampling.temperature < _GREEDY, "a higher one"),
        ("top_k", 1, sampling.top_k == 1, "a higher one"),
        ("min_p", 1, sampling.min_p >= 1.0, "a lower one"),
    ):
        if alike:
            raise RequestError(
                field, f"at {at} all {n} candidates of best_of would be the same; give {other}"
            )
