"""Whole runs against a server whose mistakes are known."""

from __future__ import annotations

import re

import pytest

from motet_benchmarks.adapters.asking import Asker, read_listing
from motet_benchmarks.adapters.outcome import Outcome, outcome
from motet_benchmarks.adapters.plan import Plan
from motet_benchmarks.adapters.samples import BASE, CURRENT, PINNED, WITH, WITHOUT, Measured
from motet_benchmarks.adapters.session import MOST_PROBLEMS, Session, settled
from motet_benchmarks.adapters.testing import BASE_NAME, NAME, TOKENS, FakeServer, answers
from motet_benchmarks.errors import BenchmarkError

PLAN = Plan(swaps=6, clients=4, rate=40.0, seconds=0.1, tokens=TOKENS, prompts=2, patience=2.0)


async def run(server: FakeServer, plan: Plan = PLAN) -> tuple[Measured, Outcome, list[str]]:
    steps: list[str] = []
    async with Asker("http://fake", transport=server.transport()) as asker:
        first = server.publish(0)
        session = Session(
            plan,
            asker,
            server,
            lambda: 1000,
            prompts=[[0], [1]],
            name=NAME,
            base=BASE_NAME,
            step=steps.append,
        )
        measured = await session.measure(first)
    return measured, outcome(measured, server.answers, bound=5, adapter_bytes=100), steps


@pytest.mark.anyio
async def test_a_server_without_fault_passes():
    server = FakeServer(answers(7), delay=0.02)
    measured, found, steps = await run(server)
    assert found.faults == ()
    assert found.passed
    assert [swap.number for swap in measured.swaps] == list(range(7))
    assert server.tidied == 6
    assert [(phase.round, phase.arm) for phase in measured.phases] == [
        (1, WITHOUT),
        (1, WITH),
        (2, WITH),
        (2, WITHOUT),
    ]
    assert len(steps) == 5
    # Nothing is heard before it is served, and the order of the moments is kept.
    for wait in found.waits:
        assert wait.from_published is not None
        assert 0.02 <= wait.from_published <= wait.from_publishing
    kinds = {
        kind: [reply for reply in measured.replies if reply.asked == kind] for kind in (CURRENT, PINNED, BASE)
    }
    assert all(kinds.values())
    assert {reply.model for reply in kinds[BASE]} == {BASE_NAME}
    assert {reply.model for reply in kinds[CURRENT]} == {NAME}
    assert all(reply.version == reply.model for reply in kinds[PINNED])
    assert {body["max_tokens"] for body in server.bodies} == {TOKENS, 1}
    assert {body["temperature"] for body in server.bodies} == {0}
    assert all(reading.loaded == 2 and reading.memory == 1000 for reading in measured.readings)
    assert measured.readings[-1].swaps == 6


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("bend", "failed", "what"),
    [
        (lambda n, body, version: -1 if n == 30 else version, True, "status 500: .*the fake is ill"),
        (lambda n, body, version: -2 if n == 30 else version, True, r"ended after \d of \d tokens"),
    ],
)
async def test_one_request_that_fails_is_found(bend, failed, what):
    _, found, _ = await run(FakeServer(answers(7), bend=bend))
    assert len(found.faults) == 1
    assert found.faults[0].failed is failed
    assert re.search(what, found.faults[0].what)
    assert (found.failed, found.wrong, found.passed) == (1, 0, False)


@pytest.mark.anyio
async def test_an_adapter_that_answers_for_the_base_is_found():
    server = FakeServer(
        answers(7),
        # The last slot's weights, as vLLM gives them to rows without an adapter.
        bend=lambda n, body, version: 0 if body["model"] == BASE_NAME else version,
        mislabel=lambda n, body, version: None if body["model"] == BASE_NAME else version,
    )
    measured, found, _ = await run(server)
    asked = sum(reply.asked == BASE for reply in measured.replies)
    assert asked
    assert found.wrong == len(found.faults) == asked
    assert {fault.what for fault in found.faults} == {
        "says it is the base, whose answer this isn't; it is that of version 0"
    }


@pytest.mark.anyio
async def test_stale_weights_under_a_new_name_are_found():
    """What vLLM does that reloads an adapter in place and keeps its prefix cache."""
    server = FakeServer(
        answers(7),
        bend=lambda n, body, version: (
            version - 1 if version and body["model"] == NAME and n % 3 == 0 else version
        ),
        mislabel=lambda n, body, version: None,
    )

    def right(number, body, version):
        return None if version is None else int(body["model"].partition("@")[2] or server.current())

    server.mislabel = right
    _, found, _ = await run(server)
    assert found.wrong
    assert not found.failed
    assert all("whose answer this isn't; it is that of version" in fault.what for fault in found.faults)


@pytest.mark.anyio
async def test_an_old_version_after_a_new_one_was_heard_is_found():
    server = FakeServer(answers(7))
    stale = iter([True, False, True])

    def bend(number, body, version):
        return 0 if body["model"] == NAME and len(server.published) > 4 and next(stale, False) else version

    server.bend = bend
    _, found, _ = await run(server)
    assert found.wrong == 2
    assert all(fault.what.startswith("version 0 answered after version") for fault in found.faults)


@pytest.mark.anyio
async def test_a_version_that_is_never_served_is_waited_for_in_vain():
    server = FakeServer(
        answers(3), bend=lambda n, body, version: version if version is None else min(version, 1)
    )
    plan = Plan(swaps=2, clients=2, rate=20.0, seconds=0.1, tokens=TOKENS, prompts=2, patience=0.3)
    measured, found, _ = await run(server, plan)
    assert [wait.number for wait in found.waits if wait.from_published is None] == [2]
    assert found.faults == ()
    assert not found.passed
    assert len(measured.swaps) == 3


@pytest.mark.anyio
async def test_a_server_that_fails_all_the_time_ends_the_run(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("motet_benchmarks.adapters.session.PROBLEM_PAUSE", 0.0)
    server = FakeServer(answers(7), bend=lambda n, body, version: -1 if n > 20 else version)
    measured, found, _ = await run(server)
    assert found.stopped is not None
    assert found.failed >= MOST_PROBLEMS
    assert not found.passed
    assert measured.swaps


@pytest.mark.anyio
async def test_a_server_that_holds_too_much_does_not_pass():
    _, found, _ = await run(FakeServer(answers(7), held=6))
    assert (found.loaded, found.bound, found.passed, found.faults) == (6, 5, False, ())


@pytest.mark.anyio
async def test_a_first_version_that_does_not_come_is_told():
    server = FakeServer(answers(1), bend=lambda n, body, version: -1)
    async with Asker("http://fake", transport=server.transport()) as asker:
        with pytest.raises(
            BenchmarkError, match=r"fake@0 was published and isn't served 0 s later: status 500"
        ):
            await settled(asker, server.publish(0), [0], 0.0)


def test_what_the_listing_says():
    versions = [
        {"state": state} for state in ("loaded", "available", "unloading", "refused", "loading", "waiting")
    ]
    listing = read_listing(
        {"data": [{"versions": versions}, {"versions": []}], "max_loaded": 8, "store": "/a"}
    )
    assert (listing.loaded, listing.most, listing.store) == (3, 8, "/a")
    with pytest.raises(KeyError):
        read_listing({"object": "list", "data": []})


def test_two_names_for_one_answer_are_a_failure():
    from motet_benchmarks.adapters import asking

    assert asking._refusal({"motet": {"adapter": "a@1"}}, "a@1") is None
    assert asking._refusal({"motet": {"adapter": "a@2"}}, "a@1") == "the header names a@1, the body a@2"
    assert asking._refusal({"error": {"message": "gone"}}, None).startswith("failed while it was written")


@pytest.mark.anyio
async def test_what_came_from_the_cache():
    server = FakeServer(answers(1), metrics=(10.0, 40.0))
    async with Asker("http://fake", transport=server.transport()) as asker:
        assert await asker.cached() == (10.0, 40.0)
        server.metrics = None
        assert await asker.cached() is None


@pytest.mark.anyio
async def test_it_waits_until_memory_is_still():
    server = FakeServer(answers(2))
    rising = iter([100, 200, 300, 400, 500])
    plan = Plan(swaps=1, clients=1, rate=40.0, seconds=0.05, tokens=TOKENS, prompts=1)

    def memory():
        return next(rising, 500) * 2**20

    async with Asker("http://fake", transport=server.transport()) as asker:
        first = server.publish(0)
        session = Session(
            plan, asker, server, memory, prompts=[[0]], name=NAME, base=BASE_NAME, step=lambda text: None
        )
        measured = await session.measure(first)
    assert measured.phases[0].begun - measured.replies[0].sent > 2 * plan.seconds
