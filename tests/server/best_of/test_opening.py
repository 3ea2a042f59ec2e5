"""What scorers a request gets, and what is refused once they are known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from tests.server.best_of.judging import CHAT, candidate

from motet_decoding.best_of.candidate import Need
from motet_decoding.best_of.request import parse_best_of
from motet_decoding.best_of.scorer import ScorerError
from motet_decoding.errors import RequestError
from motet_server.best_of import opening
from motet_server.best_of.contest import Contest
from motet_server.best_of.opening import open_contest

pytestmark = pytest.mark.anyio


class Broken:
    needs: frozenset[Need] = frozenset()

    def __init__(self, name: str) -> None:
        self.name = name
        self.alone = name != "together"

    async def score(self, question: Any, candidates: Any) -> list[float]:
        raise ScorerError("out of order")


class Scorers:
    """Has whatever is asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []

    async def resolve(self, name: str, field: str, leases: Any, salt: str | None = None) -> Broken:
        self.asked.append((name, salt))
        return Broken(name)


async def opened(
    monkeypatch: Any, best_of: dict[str, Any], untold: str | None = None
) -> tuple[Contest, Scorers]:
    monkeypatch.setattr(opening.rendering_private, "decoder", lambda state: None)
    monkeypatch.setattr(opening.vllm_private, "not_told", lambda state, need: untold)
    request = SimpleNamespace(model="toy", continue_final_message=False)
    order = SimpleNamespace(
        best_of=parse_best_of(best_of), messages=None, request=request, adapter=None, cache_salt="mine"
    )
    scorers = Scorers()
    return await open_contest(order, scorers, None, None), scorers  # type: ignore[arg-type]


async def test_a_scorer_is_found_once_and_each_failure_names_who_asked(monkeypatch):
    best_of = {"n": 4, "by": "a", "report": ["b", "a"], "reject": {"at": 2, "by": "0.5*a"}}
    contest, scorers = await opened(monkeypatch, best_of)
    assert scorers.asked == [("a", "mine"), ("b", "mine")]
    jury = contest.jury
    fields = {
        "best_of.by": jury.scorer,
        "best_of.reject.by": jury.partial,
        "best_of.report.0": jury.reports["b"],
        "best_of.report.1": jury.reports["a"],
    }
    for field, scorer in fields.items():
        assert scorer is not None
        with pytest.raises(ScorerError, match="out of order") as failed:
            await scorer.score(CHAT, [candidate(0, "a")])
        assert getattr(failed.value, "field", None) == field


@pytest.mark.parametrize(
    "asked",
    [
        {"by": "vote"},
        {"by": "vote:a"},
        {"by": "together"},
        {"by": "a+together"},
        {"by": "a", "steps": {"width": 2}},
    ],
)
async def test_a_best_so_far_that_could_not_be_told_is_refused(monkeypatch, asked):
    with pytest.raises(RequestError) as refused:
        await opened(monkeypatch, {"n": 4, "provisional": True, **asked})
    assert refused.value.field == "best_of.provisional"
    contest, _ = await opened(monkeypatch, {"n": 4, "provisional": True, "by": "a"})
    assert contest.notices is not None


async def test_a_likelihood_that_is_not_there_decides_nothing_in_the_end(monkeypatch):
    with pytest.raises(RequestError, match="logits") as refused:
        await opened(monkeypatch, {"n": 4, "by": "a", "on_error": "likelihood"}, untold="told as logits")
    assert refused.value.field == "best_of.on_error"
