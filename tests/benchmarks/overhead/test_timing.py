from __future__ import annotations

import pytest

from motet_benchmarks.endpoint import Endpoint
from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.overhead.timing import closed, refilled
from motet_benchmarks.overhead.workload import Order
from motet_benchmarks.testing import Fake, running

pytestmark = pytest.mark.anyio


async def test_closed_batches_follow_one_another():
    with running(Fake(seconds=lambda body: 0.3, reply=lambda body: body["prompt"])) as fake:
        async with Endpoint(fake.url) as endpoint:
            timing, texts = await closed(endpoint, [str(n) for n in range(8)], batch=4, tokens=5)
    assert texts == [str(n) for n in range(8)]
    assert fake.busiest == 4
    assert {body["prompt"] for body in fake.bodies[:4]} == {"0", "1", "2", "3"}
    assert (timing.requests, timing.tokens) == (8, 40)
    assert timing.seconds >= 0.6
    assert 0.3 <= timing.wait < timing.seconds
    assert timing.speed == pytest.approx(40 / timing.seconds)


async def test_requests_are_greedy_and_of_fixed_length():
    with running(Fake()) as fake:
        async with Endpoint(fake.url + "/v1/") as endpoint:
            await closed(endpoint, ["a"], batch=1, tokens=7)
            await closed(endpoint, ["a"], batch=1, tokens=7, contrast={"strength": 1.0})
    plain, contrast = fake.bodies
    assert plain == {"model": "fake", "prompt": "a", "max_tokens": 7, "ignore_eos": True, "temperature": 0}
    assert contrast == {**plain, "contrast": {"strength": 1.0}}


async def test_a_free_place_is_filled_at_once():
    # Two places: the long request keeps one for 1.6 s while four short ones share the other. Batches of two that
    # waited for their longest would take 1.6 + 0.4 + 0.4 s, a mean wait of 1.92 s.
    orders = [Order("long", 160), *(Order(f"short {n}", 40) for n in range(4))]
    with running(Fake(seconds=lambda body: body["max_tokens"] / 100)) as fake:
        async with Endpoint(fake.url) as endpoint:
            timing = await refilled(endpoint, orders, batch=2)
    assert fake.busiest == 2
    assert (timing.requests, timing.tokens) == (5, 320)
    assert 1.6 <= timing.seconds < 2.3
    # 1.6, 0.4, 0.8, 1.2 and 1.6 s, and what a busy machine adds.
    assert 1.12 <= timing.wait < 1.7


async def test_nobody_is_served_before_they_arrive():
    orders = [Order("late", 1, arrival=0.4), Order("early", 1)]
    with running(Fake()) as fake:
        async with Endpoint(fake.url) as endpoint:
            timing = await refilled(endpoint, orders, batch=8)
    assert [body["prompt"] for body in fake.bodies] == ["early", "late"]
    assert timing.seconds >= 0.4
    assert timing.wait < 0.4


@pytest.mark.parametrize(
    ("fake", "message"),
    [
        (Fake(status=400), "refused with 400: the fake refuses"),
        (Fake(tokens=lambda body: 1), "generated 1 tokens where 7 were asked for"),
        (Fake(contrasts=False), "without the contrast"),
        (Fake(models=()), "lists no model"),
    ],
)
async def test_an_endpoint_that_does_something_else_is_found_out(fake: Fake, message: str):
    with running(fake), pytest.raises(BenchmarkError, match=message):
        async with Endpoint(fake.url) as endpoint:
            await closed(endpoint, ["a", "b"], batch=2, tokens=7, contrast={"strength": 1.0})


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://127.0.0.1:9", "http://127.0.0.1:9 doesn't answer"),
        ("127.0.0.1:8000", "doesn't answer: .*protocol"),
        ("http://127.0.0.1:port", "not a URL"),
    ],
)
async def test_nobody_there(url: str, message: str):
    with pytest.raises(BenchmarkError, match=message):
        async with Endpoint(url):
            pass


async def test_no_key_goes_along_but_the_one_for_it(monkeypatch: pytest.MonkeyPatch):
    seen = []

    class Guarded(Fake):
        async def list_models(self, request):
            seen.append(request.headers.get("authorization"))
            return await super().list_models(request)

    monkeypatch.setenv("OPENAI_API_KEY", "for another")
    monkeypatch.setenv("VLLM_API_KEY", "for a third")
    monkeypatch.delenv("MOTET_API_KEY", raising=False)
    with running(Guarded()) as fake:
        async with Endpoint(fake.url):
            pass
        monkeypatch.setenv("MOTET_API_KEY", "open sesame")
        async with Endpoint(fake.url):
            pass
    assert seen == [None, "Bearer open sesame"]
