"""What the server counts beside vLLM's own figures, on the same ``/metrics`` page.

Labels hold only names that the server's owner chose or the code knows, never a client's words, so that no client can
fill the page.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

#: The label's value where there is nothing to say.
NONE: Final = "none"

_requests = Counter(
    "motet_contrast_requests",
    "Requests accepted with a contrast, by route, formula, kind of voice (or several) and the preset of the model name "
    "(or none).",
    ("route", "form", "against", "preset"),
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
_adapters_loaded = Gauge(
    "motet_adapters_loaded", "Versions of adapters that the engine holds.", multiprocess_mode="max"
)
_adapter_load = Histogram(
    "motet_adapter_load_seconds",
    "Time from asking the engine to take a version until it has, its files' check included.",
    buckets=(0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0),
)
_adapter_swaps = Counter("motet_adapter_swaps", "Times that an adapter's name has moved to another version.")
_adapters_refused = Counter("motet_adapters_refused", "Published versions that can't be served here.")
_rewards = Counter("motet_rewards", "Conversations scored by reward models.")

_candidates = Counter("motet_candidates", "Candidates drawn for best_of, those rejected early among them.")
_candidates_rejected = Counter("motet_candidates_rejected", "Candidates of best_of dropped before their end.")
_candidate_tokens = Counter("motet_candidate_tokens", "Tokens generated for candidates of best_of.")
_best_of_requests = Counter(
    "motet_best_of_requests",
    "Requests with a best_of handed to the engine, by route, kind of scorer and preset (or none).",
    ("route", "by", "preset"),
)
_scorer_seconds = Histogram(
    "motet_scorer_seconds",
    "Time that a scorer of best_of took for one candidate, or for all of a prompt's where it needs them together.",
    ("by",),
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0),
)


def count_best_of(route: str, *, by: str, preset: str | None) -> None:
    """One request with a best_of has been handed to the engine."""
    _best_of_requests.labels(route, by, preset or NONE).inc()


def count_candidates(candidates: int, *, rejected: int, tokens: int) -> None:
    """So many candidates of one prompt have come to an end, with so many tokens among them."""
    _candidates.inc(candidates)
    _candidates_rejected.inc(rejected)
    _candidate_tokens.inc(tokens)


def observe_scorer(by: str, seconds: float) -> None:
    """A scorer of this kind has taken so long."""
    _scorer_seconds.labels(by).observe(seconds)


def count_request(route: str, *, form: str, against: str, preset: str | None) -> None:
    """One request with a contrast has been handed to the engine."""
    _requests.labels(route, form, against, preset or NONE).inc()


def count_tokens(route: str, tokens: int) -> None:
    """So many tokens were generated for a request with a contrast."""
    _tokens.labels(route).inc(tokens)


def count_error(route: str, *, status: int, param: str | None, known: Collection[str]) -> None:
    """One request was answered with an error about ``param``, of which only ``known`` names are told apart."""
    field = NONE if param is None else param.split(".", 1)[0]
    _errors.labels(route, str(status), field if field in known or field == NONE else "unknown").inc()


def set_loaded(adapters: int) -> None:
    """So many versions of adapters are loaded now."""
    _adapters_loaded.set(adapters)


def count_load(seconds: float) -> None:
    """The engine has taken a version in so many seconds."""
    _adapter_load.observe(seconds)


def count_swap() -> None:
    """A name has moved to another version."""
    _adapter_swaps.inc()


def count_refused() -> None:
    """A published version can't be served."""
    _adapters_refused.inc()


def count_rewards(conversations: int) -> None:
    """So many conversations were scored."""
    _rewards.inc(conversations)
