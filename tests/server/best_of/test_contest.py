"""A contest over an engine that is played here: what vLLM gets to read, what an answer says, how failures are named."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from vllm import SamplingParams
from vllm.outputs import CompletionOutput, RequestOutput
from vllm.sampling_params import RequestOutputKind

from motet_decoding.best_of.request import parse_best_of
from motet_decoding.best_of.run import Jury
from motet_decoding.best_of.scorer import ScorerError
from motet_decoding.errors import RequestError
from motet_server.best_of.contest import ChoosingClient, Contest, JudgingError, current
from motet_server.best_of.notices import Notices
from motet_server.best_of.timed import FieldScorer

pytestmark = pytest.mark.anyio

PROMPT = {"type": "token", "prompt_token_ids": [5, 6], "prompt": "ab"}


class Engine:
    """Answers each request with one letter a token, the letter told by its candidate's place; ``hold`` stops it."""

    def __init__(self) -> None:
        self.hold: asyncio.Event | None = None

    async def generate(self, prompt: Any, sampling: Any, name: str, **options: Any) -> Any:
        if self.hold is not None and "cmpl-1-1" in name:
            await self.hold.wait()
        ids = [97 + int(name.rpartition("-")[2]), 1]
        output = CompletionOutput(0, chr(ids[0]), ids, None, None, finish_reason="stop")
        found = RequestOutput(name, "ab", [5, 6], None, [output], True)
        found.metrics = "the request's"  # type: ignore[assignment]
        yield found


class Last:
    """The later candidate is the better one; ``broken`` says why there is no score."""

    name = "last"
    needs: frozenset[Any] = frozenset()
    alone = True

    def __init__(self, broken: str | None = None) -> None:
        self.broken = broken

    async def score(self, question: Any, candidates: Any) -> list[float]:
        if self.broken:
            raise ScorerError(self.broken)
        return [float(each.index) for each in candidates]


def contest(best_of: dict[str, Any], **changes: Any) -> Contest:
    scorer = FieldScorer(Last(), "best_of.by")
    made = {"jury": Jury(scorer), "messages": None, "continued": False, "model": "toy"}
    return Contest(best_of=parse_best_of(best_of), decode=lambda ids, _: "", **{**made, **changes})


async def answered(
    of: Contest, name: str = "cmpl-1-0", engine: Engine | None = None, **sampling: Any
) -> list[Any]:
    token = current.set(of)
    try:
        client = ChoosingClient(engine or Engine())
        outputs = client.generate(PROMPT, SamplingParams(max_tokens=9, **sampling), name)
    finally:
        current.reset(token)
    return [output async for output in outputs]


async def test_vllm_reads_the_winner_alone_and_nothing_of_the_others_timing():
    (output,) = await answered(contest({"n": 3, "by": "last"}))
    assert [piece.text for piece in output.outputs] == ["c"]
    assert output.metrics is None
    (output,) = await answered(contest({"n": 1, "by": "last"}))
    assert output.metrics == "the request's"


@pytest.mark.parametrize(
    ("by", "kind"),
    [
        ("0.25*last", "last"),
        ("last:whatever", "last"),
        ("vote:0.125*last:x", "vote:last"),
        ("last+0.5*likelihood", "sum"),
        ("vote", "vote"),
    ],
)
async def test_metrics_are_told_nothing_of_what_a_client_writes(by, kind):
    assert contest({"n": 2, "by": by}).kind == kind


async def test_each_prompt_has_its_place_in_what_is_told_before_all_are_there():
    engine, of = Engine(), contest({"n": 2, "by": "last"})
    engine.hold = asyncio.Event()
    second = asyncio.ensure_future(answered(of, "cmpl-1-1", engine))
    await asyncio.sleep(0)
    await answered(of, "cmpl-1-0", engine)
    told = of.told()
    assert isinstance(told, list)
    assert sorted(each is None for each in told) == [False, True]
    engine.hold.set()
    await second
    assert all(each is not None for each in of.told() or ())


async def test_a_failure_names_the_field_that_asked_for_the_scorer():
    broken = FieldScorer(Last("out of order"), "best_of.report.1")
    jury = Jury(FieldScorer(Last(), "best_of.by"), reports={"broken": broken})
    of = contest({"n": 2, "by": "last"}, jury=jury)
    with pytest.raises(JudgingError) as failed:
        await answered(of)
    assert (failed.value.field, of.error) == ("best_of.report.1", failed.value)
    assert "out of order" in str(failed.value)


@pytest.mark.parametrize(("messages", "field"), [(None, "prompt"), ([{"role": "user"}], "messages")])
async def test_a_prompt_of_embeddings_is_refused_and_named(messages, field):
    of = contest({"n": 2, "by": "last"}, messages=messages)
    with pytest.raises(RequestError) as refused:
        of.generate(Engine(), {"type": "embeds"}, SamplingParams(), "cmpl-1-0", {})
    assert refused.value.field == field


@pytest.mark.parametrize(("messages", "name"), [(None, "cmpl-1-0"), ([{"role": "user"}], "cmpl-1")])
async def test_the_best_so_far_is_told_under_the_answers_own_name(messages, name):
    notices = Notices()
    await answered(contest({"n": 2, "by": "last"}, messages=messages, notices=notices), name)
    told = notices.waiting()
    assert {notice.request_id for notice in told} == {"cmpl-1"}
    assert told[-1].text == "b"


async def test_a_stream_of_winners_ends_with_the_last_of_them():
    of = contest({"n": 3, "by": "last", "return": 2})
    outputs = await answered(of, output_kind=RequestOutputKind.DELTA)
    assert [(piece.index, piece.text) for output in outputs for piece in output.outputs] == [
        (0, "c"),
        (1, "b"),
    ]
    assert [output.finished for output in outputs] == [False, True]
