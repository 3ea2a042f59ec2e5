"""What the server counts beside vLLM's own figures, on the same ``/metrics`` page.

Labels hold only names that the server's owner chose or the code knows, never a client's words, so that no client can
fill the page.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from prometheus_client import Counter

#: The label's value where there is nothing to say.
NONE: Final = "none"

_requests = Counter(
    "motet_contrast_requests",
    "Requests accepted with a contrast, by route, formula and the preset of the model name (or none).",
    ("route", "form", "preset"),
)
_tokens = Counter(
    "motet_contrast_tokens",
    "Tokens generated for requests with a contrast; of a stream whose client left, those it was sent.",
    ("route",),
)
_errors = Counter(
    "motet_request_errors",
    "Requests answered with an error, by route, status and the top-level field at fault.",
    ("route", "status", "field"),
)


def count_request(route: str, *, form: str, preset: str | None) -> None:
    """One request with a contrast has been handed to the engine."""
    _requests.labels(route, form, preset or NONE).inc()


def count_tokens(route: str, tokens: int) -> None:
    """So many tokens were generated for a request with a contrast."""
    _tokens.labels(route).inc(tokens)


def count_error(route: str, *, status: int, param: str | None, known: Collection[str]) -> None:
    """One request was answered with an error about ``param``, of which only ``known`` names are told apart."""
    field = NONE if param is None else param.split(".", 1)[0]
    _errors.labels(route, str(status), field if field in known or field == NONE else "unknown").inc()
