from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from motet_server.best_of import notices as module
from motet_server.best_of.notices import COMMENT, Notice, Notices, kept_alive


def notice(index: int) -> Notice:
    return Notice("id", 0, index, "text", 1.5)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST", 0.001)
    monkeypatch.setattr(module, "BETWEEN", 0.001)


@pytest.mark.anyio
async def test_silence_is_filled_with_comments_and_nothing_is_lost():
    going_on = asyncio.Event()

    async def chunks() -> AsyncIterator[str]:
        await going_on.wait()
        yield "data: a\n\n"
        yield "data: [DONE]\n\n"

    stream = kept_alive(chunks(), None)
    assert [await anext(stream) for _ in range(3)] == [COMMENT] * 3
    going_on.set()
    rest = [item async for item in stream]
    assert [item for item in rest if item != COMMENT] == ["data: a\n\n", "data: [DONE]\n\n"]


@pytest.mark.anyio
async def test_notices_come_between_in_their_order():
    told = Notices()
    going_on = asyncio.Event()

    async def chunks() -> AsyncIterator[str]:
        told.put(notice(0))
        told.put(notice(1))
        await going_on.wait()
        told.put(notice(2))
        yield "data: a\n\n"

    stream = kept_alive(chunks(), told)
    seen = []
    async for item in stream:
        seen.append(item)
        if item == notice(1):
            going_on.set()
    indices = [item.index for item in seen if isinstance(item, Notice)]
    assert indices[:2] == [0, 1]
    assert seen.index(notice(1)) < seen.index("data: a\n\n")


@pytest.mark.anyio
async def test_who_leaves_ends_what_makes_the_chunks():
    ended = asyncio.Event()

    async def chunks() -> AsyncIterator[str]:
        try:
            await asyncio.sleep(60)
            yield "never"
        finally:
            ended.set()

    stream = kept_alive(chunks(), Notices())
    assert await anext(stream) == COMMENT
    await stream.aclose()  # type: ignore[attr-defined]
    assert ended.is_set()


@pytest.mark.anyio
async def test_an_error_of_the_chunks_is_the_streams():
    async def chunks() -> AsyncIterator[str]:
        yield "data: a\n\n"
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        assert [item async for item in kept_alive(chunks(), None)]


def test_a_notice_is_a_chunk_without_choices():
    payload = notice(3).payload("chat.completion.chunk", "toy")
    assert payload["choices"] == []
    assert payload["motet"]["best_of"]["provisional"] == {
        "prompt": 0,
        "index": 3,
        "text": "text",
        "score": 1.5,
    }
