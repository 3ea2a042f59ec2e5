"""Requests over real HTTP: counted from when they were due, whatever the server makes of those before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.load.arrivals import moments
from motet_benchmarks.load.figures import good
from motet_benchmarks.load.mix import read_words
from motet_benchmarks.load.plan import Plan
from motet_benchmarks.load.prompts import GymPrompts
from motet_benchmarks.load.records import Targets
from motet_benchmarks.load.samples import Sample
from motet_benchmarks.load.session import Measured, Session, steps_of
from motet_benchmarks.load.testing import QueueingFake
from motet_benchmarks.strategies.patience import Patience
from motet_benchmarks.strategies.streaming import StreamingEndpoint
from motet_benchmarks.strategies.testing import PROMPT_TOKENS, TOKENS
from motet_benchmarks.testing import running

PROMPTS = GymPrompts()


def measured(
    *fakes: QueueingFake, mix: str = "plain", kept: list[Measured] | None = None, **settings: Any
) -> Measured:
    plan = Plan(**{"seconds": 1.0, "warm_up": 0.0, "timeout": 20.0, **settings})
    told: list[str] = []

    async def run(urls: Sequence[str]) -> Measured:
        endpoints = {
            f"server {place}": StreamingEndpoint(url, patience=Patience(0)) for place, url in enumerate(urls)
        }
        for endpoint in endpoints.values():
            await endpoint.__aenter__()
        try:
            session = Session(plan, endpoints, read_words(mix), PROMPTS)
            return await session.measure((kept if kept is not None else []).append, told.append)
        finally:
            for endpoint in endpoints.values():
                await endpoint.__aexit__(None, None, None)

    with ExitStack() as stack:
        found = asyncio.run(run([stack.enter_context(running(fake)).url for fake in fakes]))
    assert len(told) == steps_of(plan, len(fakes))
    return found


def by_end(samples: Sequence[Sample]) -> list[Sample]:
    return sorted(samples, key=lambda one: one.end)


def test_a_slow_server_is_charged_for_those_that_wait_behind_others():
    # One at a time, 0.1 s each, where twenty come a second: nobody is asked later for it, and everyone waits longer.
    slow = QueueingFake(places=1, seconds=lambda body: 0.1)
    found = measured(slow, rates=(20.0,))
    samples, begin = by_end(found.samples), min(one.due for one in found.samples)
    assert len(samples) > 10
    assert slow.busiest == 1
    for place, one in enumerate(samples, start=1):
        assert one.answered
        # So many have been served by then, one after the other.
        assert one.end > begin + 0.099 * place
        assert one.first_token is not None
        assert 0.099 < one.first_token <= one.seconds
        assert (one.tokens, one.prompt_tokens, one.held) == (TOKENS, PROMPT_TOKENS, 0)


def test_a_client_that_may_open_one_request_only_says_which_were_held():
    slow = QueueingFake(seconds=lambda body: 0.1)
    found = measured(slow, rates=(20.0,), max_open=1)
    samples, begin = by_end(found.samples), min(one.due for one in found.samples)
    assert slow.busiest == 1
    for place, one in enumerate(samples, start=1):
        assert one.seconds > one.late + one.held + 0.099
        assert one.end > begin + 0.099 * place
    assert samples[-1].late + samples[-1].held > 0.1


def test_every_failure_is_a_sample_of_its_kind():
    # The first request is the trial of the mix.
    fake = QueueingFake(ill=frozenset({2, 4}))
    found = measured(fake, rates=(10.0,))
    assert len(found.samples) > 5
    assert sorted(one.outcome for one in found.samples)[-3:] == ["answered", "status 500", "status 500"]
    assert found.errors["server 0"]["status 500"].endswith("the fake is ill")
    lost = next(one for one in found.samples if not one.answered)
    assert (lost.tokens, lost.first_token, lost.per_token) == (0, None, None)

    late = QueueingFake(seconds=lambda body: 0.0 if len(late.bodies) == 1 else 2.5)
    found = measured(late, rates=(10.0,), timeout=1.0)
    assert {one.outcome for one in found.samples} == {"timeout"}
    assert all(one.seconds > 0.99 for one in found.samples)

    torn = QueueingFake()

    def reply(body: dict[str, Any]) -> str:
        torn.breaks = len(torn.bodies) % 2 == 0
        return "some words"

    torn.reply = reply
    found = measured(torn, concurrency=(1,), seconds=1.5)
    assert {one.outcome for one in found.samples} == {"answered", "no whole answer"}
    assert "broke off" in found.errors["server 0"]["no whole answer"]


def test_a_server_that_is_gone_ends_the_run_and_what_was_measured_is_kept():
    kept: list[Measured] = []
    fake = QueueingFake()

    def reply(body: dict[str, Any]) -> str:
        fake.breaks = len(fake.bodies) > 8
        return "some words"

    fake.reply = reply
    with pytest.raises(BenchmarkError, match=r"none of \d+ requests was answered: .*broke off"):
        measured(fake, rates=(4.0, 8.0, 16.0), kept=kept, seconds=1.0)
    assert len(kept) >= 1
    assert kept[-1].steps == len(kept) < 3
    assert {one.step for one in kept[-1].samples} == set(range(kept[-1].steps))


def test_both_servers_get_the_same_and_what_one_refuses_is_left_out_of_both():
    motet, plain = QueueingFake(models=("toy",)), QueueingFake(models=("toy-alone",), ignores=True)
    plain.refuses = lambda body: "no such model" if body["model"] == "tutor" else None
    found = measured(motet, plain, mix="plain=2,contrast,tutor,sampled,best-of-4", rates=(20.0,), segments=2)
    assert [member.strategy.name for member in found.tried.mix] == ["plain", "sampled"]
    refused = found.tried.refused
    assert set(refused) == {"contrast", "tutor", "best-of-4"}
    assert {server for said in refused.values() for server in said} == {"server 1"}
    assert "without the contrast that it was asked for" in refused["contrast"]["server 1"]
    assert "no such model" in refused["tutor"]["server 1"]
    arrivals = {
        name: sorted(
            (one.turn, one.number, one.due, one.member)
            for one in found.samples
            if one.server == name and one.due < 0.5
        )
        for name in ("server 0", "server 1")
    }
    assert len(arrivals["server 0"]) > 10
    assert arrivals["server 0"] == arrivals["server 1"]
    # A prompt of the gym begins with its turn and its number there, both from one.
    measured_ones = {f"{turn + 1}.{number + 1}" for turn, number, *_ in arrivals["server 0"]}

    def asked(fake: QueueingFake) -> list[str]:
        bodies = [
            {**body, "model": ""}
            for body in fake.bodies[5:]  # after one of each member
            if body["messages"][-1]["content"].split()[0] in measured_ones
        ]
        assert all("contrast" not in body for body in bodies)
        return sorted(map(str, bodies))

    assert asked(motet) == asked(plain)
    assert {body["model"] for body in plain.bodies} == {"toy-alone", "tutor"}


def test_the_servers_take_turns():
    first, second = QueueingFake(), QueueingFake()
    order: list[str] = []
    first.seconds = lambda body: order.append("first") or 0.0  # type: ignore[func-returns-value]
    second.seconds = lambda body: order.append("second") or 0.0  # type: ignore[func-returns-value]
    measured(first, second, rates=(10.0,), segments=2)
    runs = [name for place, name in enumerate(order) if place == 0 or order[place - 1] != name]
    assert runs == ["first", "second", "first", "second", "first"]  # a trial each, A B, then B A


def test_clients_of_a_closed_loop_ask_one_after_the_other():
    fake = QueueingFake(seconds=lambda body: 0.05, gathers=3)
    found = measured(fake, concurrency=(3,), warm_up=0.3)
    assert fake.busiest == 3
    assert min(one.due for one in found.samples) < 0
    assert all(one.held == 0 for one in found.samples)
    numbers = [one.number for one in found.samples]
    assert len(set(numbers)) == len(numbers)
    # All that were asked while it was measured are there.
    counted = sorted(one.number for one in found.samples if one.due < 1.0)
    assert counted == list(range(len(counted)))


def test_best_of_has_no_pace_and_an_unstreamed_answer_no_first_token():
    found = measured(QueueingFake(), mix="plain,best-of-2", rates=(20.0,))
    paces = {(one.member, one.per_token is None) for one in found.samples}
    assert paces == {("plain", False), ("best-of-2", True)}
    assert {one.tokens for one in found.samples} == {TOKENS}
    unstreamed = measured(QueueingFake(), rates=(10.0,), stream=False)
    assert {(one.first_token, one.per_token) for one in unstreamed.samples} == {(None, None)}


@pytest.mark.parametrize(
    ("fake", "settings", "message"),
    [
        (
            QueueingFake(status=200, refuses=lambda body: "not here"),
            {},
            "--mix: nothing of it is served: .*not here",
        ),
        (QueueingFake(ill=frozenset({1})), {}, "refused with 500"),
        (QueueingFake(status=429), {}, "refused with 429"),
        (QueueingFake(status=401), {}, r"refused with 401: .*MOTET_API_KEY"),
        (
            QueueingFake(seconds=lambda body: 1.5),
            {"timeout": 0.2},
            r"plain: no answer within --timeout 0.2 s",
        ),
        (QueueingFake(), {"rates": (0.001,)}, "at 0.001 requests a second nothing arrives in 1 s"),
    ],
)
def test_a_server_that_cannot_be_measured_ends_the_run(
    fake: QueueingFake, settings: dict[str, Any], message: str
):
    with pytest.raises(BenchmarkError, match=message):
        measured(fake, **{"rates": (5.0,), **settings})


def test_others_come_until_those_that_are_measured_are_answered():
    # Nobody is answered before more are there than are measured: only those that come afterwards can bring that about.
    plan = Plan(rates=(10.0,), seconds=1.0, warm_up=0.0)
    count = len(moments(plan.turns()[0], plan.seed))
    fake = QueueingFake()

    def gather(body: dict[str, Any]) -> None:
        fake.gathers = count + 2 if len(fake.bodies) > 1 else 0  # the first is the trial

    fake.refuses = gather
    found = measured(fake, rates=(10.0,))
    assert fake.busiest >= count + 2
    counted = [one for one in found.samples if one.due < 1.0]
    assert sorted(one.number for one in counted) == list(range(count))
    assert all(one.answered for one in counted)


def test_clients_go_on_until_what_is_measured_is_answered():
    class Holding(QueueingFake):
        """Keeps one answer back until another client asks a second later, when nothing is measured any more."""

        late = False

        async def answer(self, request: Request) -> Response:
            clock = asyncio.get_running_loop().time
            if self.asked == 1:
                self.asked += 1
                self.held_at = clock()
                while not self.late and clock() < self.held_at + 10:
                    await asyncio.sleep(0.01)
            elif self.asked > 1 and clock() > self.held_at + 1:
                self.late = True
            return await super().answer(request)

    fake = Holding()
    found = measured(fake, concurrency=(2,), seconds=0.5)
    assert fake.late
    assert all(one.answered for one in found.samples)


def test_a_stream_that_comes_in_one_piece_has_its_first_token_with_its_last():
    targets = Targets(first_token=0.1)
    found = measured(QueueingFake(streams=False, seconds=lambda body: 0.3), rates=(10.0,))
    assert all(one.at_once and one.answered for one in found.samples)
    for one in found.samples:
        assert one.first_token is not None
        assert one.first_token > 0.29
        assert one.per_token is None
        assert not good(one, targets)
    # One without any text is no sooner.
    empty = measured(QueueingFake(reply=lambda body: "", seconds=lambda body: 0.3), rates=(10.0,))
    assert all(one.at_once and not good(one, targets) for one in empty.samples)
    assert not any(one.at_once for one in measured(QueueingFake(), rates=(10.0,)).samples)


def test_a_server_that_counts_no_tokens_is_measured_all_the_same():
    class Uncounted(QueueingFake):
        async def _stream(self, *told: Any) -> AsyncIterator[str]:
            async for event in super()._stream(*told):
                if "usage" not in event:
                    yield event

    found = measured(Uncounted(reply=lambda body: "four whole words now"), rates=(10.0,))
    assert {(one.outcome, one.counted, one.tokens) for one in found.samples} == {("answered", True, TOKENS)}


def test_a_motet_field_that_cannot_be_read_is_a_failure():
    class Odd(QueueingFake):
        def _motet(self, body: Mapping[str, Any]) -> dict[str, Any]:
            told = super()._motet(body)
            if self.asked > 1:
                told["best_of"]["choices"] = []
            return told

    with pytest.raises(BenchmarkError, match="motet field can't be read: IndexError"):
        measured(Odd(), mix="best-of-2", rates=(10.0,))


def test_a_request_that_is_turned_away_under_load_is_not_sent_again():
    fake = QueueingFake()
    fake.refuses = lambda body: setattr(fake, "status", 429 if len(fake.bodies) == 1 else fake.status)
    found = measured(fake, rates=(10.0,))
    assert {one.outcome for one in found.samples} == {"status 429"}
    seeds = [body["seed"] for body in fake.bodies]
    assert len(set(seeds)) == len(seeds) > len(found.samples) > 0


@pytest.mark.parametrize("place", [0, 1])
def test_where_one_refuses_exact_lengths_nobody_is_asked_for_them(place: int):
    words = "Unexpected fields in the request: {'ignore_eos'}"
    fakes = [QueueingFake(), QueueingFake()]
    fakes[place].refuses = lambda body: words if "ignore_eos" in body else None
    found = measured(*fakes, mix="plain,sampled", rates=(10.0,))
    assert [member.strategy.name for member in found.tried.mix] == ["plain", "sampled"]
    assert found.tried.refused == {}
    assert found.tried.inexact is not None
    assert found.tried.inexact.startswith(f"server {place}: ")
    assert words in found.tried.inexact
    assert not found.tried.plan.exact
    assert all(one.answered for one in found.samples)
    assert not any("ignore_eos" in body for fake in fakes for body in fake.bodies[3:])
    # What isn't served without them either is refused for its own reason.
    other = QueueingFake(refuses=lambda body: words if "ignore_eos" in body else "no such model")
    with pytest.raises(BenchmarkError, match=r"nothing of it is served: .*no such model"):
        measured(other, rates=(10.0,))


def test_one_request_that_breaks_does_not_end_the_run():
    settings: dict[str, Any] = {"rates": (2.0,), "seconds": 2.0, "segments": 4, "warm_up": 0.0}
    turns = Plan(**settings).turns()
    seed = next(seed for seed in range(1000) if [len(moments(turn, seed)) for turn in turns[:2]] == [1, 2])
    torn = QueueingFake()

    def reply(body: dict[str, Any]) -> str:
        torn.breaks = len(torn.bodies) == 2
        return "some words"

    torn.reply = reply
    found = measured(torn, **settings, seed=seed)
    assert [one.outcome for one in found.samples].count("no whole answer") == 1
    assert found.steps == 1
