"""Endpoints that have no time for a request, over real HTTP."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from motet_benchmarks.errors import BenchmarkError, Busy, Refused, Unreachable
from motet_benchmarks.strategies import patience, streaming
from motet_benchmarks.strategies.patience import Patience
from motet_benchmarks.strategies.streaming import Said, StreamingEndpoint
from motet_benchmarks.strategies.testing import StrategiesFake
from motet_benchmarks.testing import running

BODY = {"model": "fake", "messages": [{"role": "user", "content": "Hi"}]}


@dataclass
class Crowded(StrategiesFake):
    """Turns the first requests away."""

    turned_away: list[int] = field(default_factory=list)
    headers: Mapping[str, str] = field(default_factory=dict)
    page: bool = False

    async def answer(self, request: Request) -> Response:
        if self.turned_away:
            status = self.turned_away.pop(0)
            if self.page:
                return PlainTextResponse("<html>Bad Gateway</html>", status, headers=dict(self.headers))
            said = {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}
            return JSONResponse(said, status, headers=dict(self.headers))
        return await super().answer(request)


def said_by(fake: StrategiesFake, waits: list[float], seconds: float = 120.0) -> Said:
    """What it says in the end, and between the requests how long was to be waited, which isn't done."""

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async def ask() -> Said:
        async with StreamingEndpoint(fake.url, patience=Patience(seconds, sleep)) as endpoint:
            return await endpoint.say(BODY)

    with running(fake):
        return asyncio.run(ask())


def test_who_is_turned_away_comes_back_and_says_so_once(capsys: pytest.CaptureFixture[str]):
    waits: list[float] = []
    fake = Crowded(turned_away=[429, 429, 503, 502])
    said = said_by(fake, waits)
    assert said.text == "words"
    assert len(fake.bodies) == 1
    doubled = [patience.FIRST_WAIT * 2**place for place in range(4)]
    assert all(
        0 <= waited - least <= patience.FIRST_WAIT for waited, least in zip(waits, doubled, strict=True)
    )
    told = capsys.readouterr().err
    assert told.count("asked again: 429 (2 times), 503 (1 times), 502 (1 times)") == 1


@pytest.mark.parametrize(
    ("after", "least", "most"),
    [
        ("7", 7, 7),
        ("0", 0, 0),
        ("3600", patience.LONGEST_WAIT, patience.LONGEST_WAIT),
        ("Thu, 01 Jan 2015 00:00:00 GMT", 0, 0),
        ("Fri, 01 Jan 2100 00:00:00 GMT", patience.LONGEST_WAIT, patience.LONGEST_WAIT),
        ("soon", patience.FIRST_WAIT, patience.FIRST_WAIT),
    ],
)
def test_the_endpoint_says_when_to_come_back(after: str, least: float, most: float):
    waits: list[float] = []
    said_by(Crowded(turned_away=[429], headers={"Retry-After": after}), waits)
    assert least <= waits[0] <= most + patience.FIRST_WAIT


def test_a_page_of_a_gateway_is_waited_for_too():
    waits: list[float] = []
    assert said_by(Crowded(turned_away=[502], page=True), waits).text == "words"
    assert len(waits) == 1


def test_patience_ends():
    waits: list[float] = []
    fake = Crowded(turned_away=[429, 429, 429], headers={"Retry-After": "30"})
    with pytest.raises(Busy, match="refused with 429: slow down") as told:
        said_by(fake, waits, seconds=20)
    assert told.value.status == 429
    assert (len(fake.turned_away), waits) == (2, [])


@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_other_errors_are_told_at_once(status: int):
    waits: list[float] = []
    fake = Crowded(turned_away=[status, status])
    with pytest.raises(Refused, match=f"refused with {status}"):
        said_by(fake, waits)
    assert (len(fake.turned_away), waits) == (1, [])


def test_an_answer_that_breaks_off_is_not_asked_for_again():
    waits: list[float] = []
    fake = StrategiesFake(breaks=True, reply=lambda body: "four whole words now")
    with pytest.raises(BenchmarkError, match="broke off"):
        said_by(fake, waits)
    assert (len(fake.bodies), waits) == (1, [])


def test_time_counts_from_the_last_request():
    # It thinks for as long as it takes, and no wait of an hour is part of it.
    fake = Crowded(turned_away=[429])
    clock = time.perf_counter
    begun = clock()
    with pytest.MonkeyPatch.context() as patched:
        waits: list[float] = []
        patched.setattr(streaming.time, "perf_counter", lambda: clock() + 3600.0 * len(waits))
        said = said_by(fake, waits)
    assert len(waits) == 1
    assert 0 < said.seconds < clock() - begun


def test_a_connection_that_is_refused_is_tried_again():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        place = listener.getsockname()[1]
    fake = StrategiesFake()
    with running(fake):

        async def ask() -> Said:
            endpoint = StreamingEndpoint(f"http://127.0.0.1:{place}", model="fake", patience=Patience(0))
            async with endpoint, StreamingEndpoint(fake.url) as there:
                with pytest.raises(Unreachable, match="doesn't answer"):
                    await endpoint.say(BODY)
                came: list[float] = []

                async def sleep(seconds: float) -> None:
                    came.append(seconds)

                async def job() -> Said:
                    return await (there if came else endpoint).say(BODY)

                return await Patience(60, sleep).ask(job)

        assert asyncio.run(ask()).text == "words"
