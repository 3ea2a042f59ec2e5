"""From a checked request to its contest: the scorers that it names are found, and kept for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from motet_decoding.best_of.judge import read_terms
from motet_decoding.best_of.run import Jury
from motet_decoding.best_of.scorer import Scorer
from motet_decoding.best_of.total import TotalScorer
from motet_decoding.best_of.vote import Extractor
from motet_decoding.errors import RequestError
from motet_server import vllm_private
from motet_server.adapters.leases import Leases
from motet_server.best_of.contest import Contest, TimedScorer
from motet_server.best_of.notices import Notices
from motet_server.best_of.scorers import Scorers

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
            scorer = await scorers.resolve(name, f"best_of.{field}", leases)
            for need in sorted(scorer.needs):
                if (reason := vllm_private.not_told(state, need)) is not None:
                    raise RequestError(f"best_of.{field}", f"{name} isn't available on this server: {reason}")
            found[name] = TimedScorer(scorer, scorer.name.partition(":")[0])
        return found[name]

    judge = best_of.judge
    part = "reject.by" if best_of.reject is not None and best_of.reject.by else "by"
    if best_of.steps is not None and best_of.steps.by:
        part = "steps.by"
    return Contest(
        best_of=best_of,
        jury=Jury(
            scorer=None if judge.scorer is None else await resolve(judge.scorer, "by"),
            partial=None if best_of.partial is None else await resolve(best_of.partial, part),
            reports={
                name: await resolve(name, f"report.{index}") for index, name in enumerate(best_of.report)
            },
            extractor=_extractor(best_of.vote.pattern) if judge.vote else None,
        ),
        messages=order.messages,
        continued=bool(getattr(order.request, "continue_final_message", False)),
        model=order.adapter or order.model or "",
        decode=vllm_private.decoder(state),
        notices=Notices() if best_of.provisional else None,
    )


def _extractor(pattern: str | None) -> Extractor:
    try:
        return Extractor(pattern)
    except ValueError as error:
        raise RequestError("best_of.vote.pattern", str(error)) from None
