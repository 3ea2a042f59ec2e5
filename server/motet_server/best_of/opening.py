"""From a checked request to its contest: the scorers that it names are found, and kept for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from motet_decoding.best_of.judge import read_terms
from motet_decoding.best_of.once import OnceScorer
from motet_decoding.best_of.request import BestOf
from motet_decoding.best_of.run import Jury
from motet_decoding.best_of.scorer import Scorer
from motet_decoding.best_of.total import TotalScorer
from motet_decoding.best_of.vote import Extractor
from motet_decoding.errors import RequestError
from motet_server import rendering_private, vllm_private
from motet_server.adapters.leases import Leases
from motet_server.best_of.contest import Contest
from motet_server.best_of.notices import Notices
from motet_server.best_of.scorers import Scorers
from motet_server.best_of.timed import FieldScorer, TimedScorer, kind_of

if TYPE_CHECKING:
    from motet_server.requests import Order


async def open_contest(order: Order, scorers: Scorers, state: Any, leases: Leases | None) -> Contest:
    """The contest of a request with a ``best_of``.

    Raises:
        RequestError: naming the scorer, or the pattern, that can't be honoured.
    """
    best_of = order.best_of
    assert best_of is not None
    found: dict[str, Scorer] = {}

    async def resolve(name: str, field: str) -> Scorer:
        terms = read_terms(name)
        if len(terms) == 1 and terms[0].weight == 1.0:
            return await resolve_one(terms[0].name, field)
        return TotalScorer([(term.weight, await resolve_one(term.name, field)) for term in terms])

    async def resolve_one(name: str, field: str) -> Scorer:
        if name not in found:
            scorer = await scorers.resolve(name, field, leases, order.cache_salt)
            found[name] = OnceScorer(TimedScorer(scorer, kind_of(name)))
        for need in sorted(found[name].needs):
            if (reason := vllm_private.not_told(state, need)) is not None:
                raise RequestError(field, f"{name} isn't available on this server: {reason}")
        return FieldScorer(found[name], field)

    judge = best_of.judge
    part = "best_of.by"
    if best_of.reject is not None and best_of.reject.by:
        part = "best_of.reject.by"
    if best_of.steps is not None and best_of.steps.by:
        part = "best_of.steps.by"
    jury = Jury(
        scorer=None if judge.scorer is None else await resolve(judge.scorer, "best_of.by"),
        partial=None if best_of.partial is None else await resolve(best_of.partial, part),
        reports={
            name: await resolve(name, f"best_of.report.{index}") for index, name in enumerate(best_of.report)
        },
        extractor=_extractor(best_of.vote.pattern) if judge.vote else None,
    )
    _check_jury(best_of, jury, state)
    return Contest(
        best_of=best_of,
        jury=jury,
        messages=order.messages,
        continued=bool(getattr(order.request, "continue_final_message", False)),
        model=order.adapter or order.request.model or "",
        decode=rendering_private.decoder(state),
        notices=Notices() if best_of.provisional else None,
    )


def _check_jury(best_of: BestOf, jury: Jury, state: Any) -> None:
    """Refuses what these scorers can't do, or this server."""
    if best_of.on_error == "likelihood" and (reason := vllm_private.not_told(state, "logprobs")) is not None:
        raise RequestError("best_of.on_error", f"the likelihood isn't available on this server: {reason}")
    early = jury.scorer is not None and jury.scorer.alone and not best_of.judge.vote and best_of.steps is None
    if best_of.provisional and not early:
        way = best_of.by if best_of.steps is None else "steps"
        raise RequestError(
            "best_of.provisional", f"{way} decides once all candidates are there; nothing can be told before"
        )


def _extractor(pattern: str | None) -> Extractor:
    try:
        return Extractor(pattern)
    except ValueError as error:
        raise RequestError("best_of.vote.pattern", str(error)) from None
