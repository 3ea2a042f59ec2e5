"""The shelf over an engine that is a set: what is loaded, what a name means, who reads, who has to wait."""

from __future__ import annotations

import asyncio
import random

import pytest

from motet_server.adapters import entry as entry_module
from motet_server.adapters.entry import Entry, State, number_of
from motet_server.adapters.errors import (
    InUseError,
    NoRoomError,
    NoVersionError,
    RefusedError,
    UnknownAdapterError,
)
from motet_server.adapters.shelf import Shelf

pytestmark = pytest.mark.anyio

NEVER = 3600.0


class FakeEngine:
    """Holds what it is told to; slow or unwilling where a test says so."""

    def __init__(self) -> None:
        self.held: set[int] = set()
        self.most = 0
        self.log: list[str] = []
        self.refuses: dict[str, str] = {}
        self.breaks: set[str] = set()
        self.hold_loads: asyncio.Event | None = None
        self.hold_unloads: asyncio.Event | None = None

    async def load(self, entry: Entry) -> None:
        self.log.append(f"load {entry.reference}")
        if self.hold_loads is not None:
            await self.hold_loads.wait()
        await asyncio.sleep(0)
        if entry.reference in self.refuses:
            raise RefusedError(entry.reference, self.refuses[entry.reference])
        assert entry.number not in self.held, "loaded twice"
        self.held.add(entry.number)
        self.most = max(self.most, len(self.held))

    async def unload(self, entry: Entry) -> None:
        assert not entry.users, "unloaded under a reader"
        self.log.append(f"unload {entry.reference}")
        if self.hold_unloads is not None:
            await self.hold_unloads.wait()
        await asyncio.sleep(0)
        if entry.reference in self.breaks:
            raise OSError("the engine is busy")
        self.held.discard(entry.number)

    def holds(self, *references: str) -> bool:
        return self.held == {number_of(reference) for reference in references}


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.001  # no two uses at the same instant
        return self.now


def make(most: int = 4, **options: object) -> tuple[Shelf, FakeEngine]:
    engine = FakeEngine()
    return Shelf(engine, most=most, **{"patience": NEVER, **options}), engine  # type: ignore[arg-type]


def stock(shelf: Shelf, reference: str, kind: str = "sft", refused: str | None = None) -> Entry:
    name, _, version = reference.partition("@")
    return shelf.stock(name, version, kind, source=None, refused=refused)


async def publish(shelf: Shelf, reference: str) -> Entry:
    entry = stock(shelf, reference)
    await shelf.move(entry)
    return entry


async def ticks(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


# Names and versions


async def test_a_name_and_its_version_mean_the_same_until_it_moves():
    shelf, engine = make()
    one = await publish(shelf, "a@111111aaaaaa")
    assert shelf.find("a") is shelf.find("a@111111aaaaaa") is shelf.find("a@111111") is one
    two = await publish(shelf, "a@222222aaaaaa")
    assert (shelf.find("a"), shelf.find("a@111111")) == (two, one)
    assert engine.log[:2] == ["load a@111111aaaaaa", "load a@222222aaaaaa"]


async def test_what_is_not_there_is_said_by_name_and_version():
    shelf, _ = make()
    with pytest.raises(UnknownAdapterError, match="nobody"):
        await shelf.acquire("nobody")
    await publish(shelf, "a@111111aaaaaa")
    with pytest.raises(NoVersionError, match=r"has no version 999999.*it has 111111aaaaaa"):
        await shelf.acquire("a@999999")
    with pytest.raises(NoVersionError):
        await shelf.acquire("a@11111")  # shorter than what is told apart
    stock(shelf, "a@111111bbbbbb")
    with pytest.raises(NoVersionError, match="several"):
        await shelf.acquire("a@111111")
    stock(shelf, "b@333333aaaaaa")
    with pytest.raises(NoVersionError, match="no current version; promote one of 333333aaaaaa"):
        await shelf.acquire("b")
    assert (await shelf.acquire("b@333333")).state is State.LOADED


async def test_a_refused_version_says_why_and_its_name_stays_where_it_is():
    shelf, engine = make()
    one = await publish(shelf, "a@111111aaaaaa")
    two = stock(shelf, "a@222222aaaaaa", refused="another base")
    with pytest.raises(RefusedError, match="another base"):
        await shelf.move(two)
    with pytest.raises(RefusedError, match="another base"):
        await shelf.acquire("a@222222")
    assert shelf.find("a") is one
    assert engine.holds(one.reference)


async def test_a_name_whose_only_version_is_refused_says_why():
    shelf, _ = make()
    stock(shelf, "a@111111aaaaaa", refused="of rank 64")
    with pytest.raises(RefusedError, match="of rank 64"):
        await shelf.acquire("a")


async def test_what_the_engine_refuses_never_gets_the_name_and_may_be_stocked_again():
    shelf, engine = make()
    one = await publish(shelf, "a@111111aaaaaa")
    two = stock(shelf, "a@222222aaaaaa")
    engine.refuses[two.reference] = "no such module"
    with pytest.raises(RefusedError, match="no such module"):
        await shelf.move(two)
    assert (shelf.find("a"), two.state, two.users, one.users) == (one, State.REFUSED, 0, 0)
    engine.refuses.clear()
    await publish(shelf, two.reference)
    assert shelf.find("a") is two


async def test_numbers_are_31_bits_and_never_shared(monkeypatch):
    assert all(0 < number_of(f"a@{index:012x}") < 2**31 for index in range(1000))
    monkeypatch.setattr(entry_module, "number_of", lambda reference: 7)
    shelf, engine = make()
    one = await publish(shelf, "a@111111aaaaaa")
    for _ in range(2):  # at every look at the store
        two = stock(shelf, "b@222222aaaaaa")
        assert two.state is State.REFUSED
        assert "that of a@111111aaaaaa; publish it under another name" in str(two.reason)
    shelf.drop(one)
    await shelf.settled()
    assert stock(shelf, "b@222222aaaaaa").state is State.REFUSED, (
        "the engine may still have the other's weights"
    )
    assert stock(shelf, "a@111111aaaaaa").state is State.AVAILABLE
    assert engine.held == set()


# Readers


async def test_the_old_version_stays_until_its_last_reader_has_left():
    shelf, engine = make()
    one = await publish(shelf, "a@111111aaaaaa")
    readers = [await shelf.acquire("a") for _ in range(3)]
    two = await publish(shelf, "a@222222aaaaaa")
    assert readers == [one] * 3
    assert await shelf.acquire("a") is two
    for reader in readers[:2]:
        shelf.release(reader)
        await shelf.settled()
        assert engine.holds(one.reference, two.reference)
    shelf.release(readers[2])
    await shelf.settled()
    assert engine.holds(two.reference)
    assert (one.state, one.users, two.users) == (State.AVAILABLE, 0, 1)


async def test_a_version_without_readers_goes_as_soon_as_its_name_has_moved():
    shelf, engine = make()
    await publish(shelf, "a@111111aaaaaa")
    two = await publish(shelf, "a@222222aaaaaa")
    await shelf.settled()
    assert engine.holds(two.reference)


async def test_nobody_gets_the_new_version_before_the_engine_holds_it():
    shelf, engine = make()
    one = await publish(shelf, "a@111111aaaaaa")
    engine.hold_loads = asyncio.Event()
    moving = asyncio.create_task(publish(shelf, "a@222222aaaaaa"))
    await ticks()
    assert await shelf.acquire("a") is one
    engine.hold_loads.set()
    assert await shelf.acquire("a@222222") is await moving
    assert shelf.find("a").version == "222222aaaaaa"


async def test_a_move_back_while_the_old_version_is_being_unloaded_loads_it_again():
    shelf, engine = make()
    one = await publish(shelf, "a@111111aaaaaa")
    engine.hold_unloads = asyncio.Event()
    two = await publish(shelf, "a@222222aaaaaa")
    await ticks()
    assert one.state is State.UNLOADING
    back = asyncio.create_task(shelf.move(one))
    await ticks()
    engine.hold_unloads.set()
    await back
    await shelf.settled()
    assert shelf.find("a") is one
    assert engine.holds(one.reference)
    assert two.state is State.AVAILABLE


async def test_a_dropped_version_in_use_is_read_to_the_end_but_by_nobody_new():
    shelf, engine = make()
    one = await publish(shelf, "a@111111aaaaaa")
    two = await publish(shelf, "a@222222aaaaaa")
    reader = await shelf.acquire("a@111111")
    for entry in (one, two):
        shelf.drop(entry)
    await shelf.settled()
    with pytest.raises(UnknownAdapterError):
        await shelf.acquire("a")
    assert engine.holds(one.reference)
    shelf.release(reader)
    await shelf.settled()
    assert engine.held == set()
    assert shelf.names() == []


async def test_a_name_that_means_nothing_any_more_lets_its_version_go():
    shelf, engine = make()
    await publish(shelf, "a@111111aaaaaa")
    shelf.unname("a")
    await shelf.settled()
    assert engine.held == set()
    with pytest.raises(NoVersionError):
        shelf.find("a")


# Asked for by version


async def test_an_old_version_is_loaded_when_it_is_asked_for_and_goes_when_it_isnt_for_long():
    clock = Clock()
    shelf, engine = make(clock=clock, idle=600.0)
    one = await publish(shelf, "a@111111aaaaaa")
    two = await publish(shelf, "a@222222aaaaaa")
    await shelf.settled()
    shelf.release(await shelf.acquire("a@111111"))
    await shelf.tidy()
    assert engine.holds(one.reference, two.reference)
    clock.now += 590
    shelf.release(await shelf.acquire("a@111111"))
    clock.now += 590
    await shelf.tidy()
    assert engine.holds(one.reference, two.reference)
    clock.now += 11
    await shelf.tidy()
    assert engine.holds(two.reference)


async def test_what_is_still_asked_for_by_its_version_outlives_its_name():
    shelf, engine = make()
    one = await publish(shelf, "a@111111aaaaaa")
    shelf.release(await shelf.acquire("a@111111aaaaaa"))
    two = await publish(shelf, "a@222222aaaaaa")
    await shelf.settled()
    assert engine.holds(one.reference, two.reference)


async def test_many_requests_for_what_isnt_loaded_load_it_once():
    shelf, engine = make()
    stock(shelf, "a@111111aaaaaa")
    entries = await asyncio.gather(*(shelf.acquire("a@111111") for _ in range(10)))
    assert engine.log == ["load a@111111aaaaaa"]
    assert entries[0].users == 10


# Room


async def test_the_least_recently_used_idle_version_makes_room():
    shelf, engine = make(most=2, clock=Clock())
    for name in "abc":
        shelf.introduce(stock(shelf, f"{name}@111111aaaaaa"))
    for name in ("a", "b", "a", "c"):
        shelf.release(await shelf.acquire(name))
    assert engine.holds("a@111111aaaaaa", "c@111111aaaaaa")
    assert engine.most == 2
    shelf.release(await shelf.acquire("b"))
    assert engine.holds("b@111111aaaaaa", "c@111111aaaaaa")


async def test_versions_that_no_name_means_go_first():
    shelf, engine = make(most=2, clock=Clock())
    await publish(shelf, "a@111111aaaaaa")
    stock(shelf, "b@111111aaaaaa")
    shelf.release(await shelf.acquire("b@111111"))
    stock(shelf, "b@222222aaaaaa")
    shelf.release(await shelf.acquire("b@222222"))
    assert engine.holds("a@111111aaaaaa", "b@222222aaaaaa")


async def test_pinned_and_used_ones_stay_and_the_rest_waits_its_turn():
    shelf, engine = make(most=2, pins=["a"])
    await publish(shelf, "a@111111aaaaaa")
    reader = await publish(shelf, "b@111111aaaaaa") and await shelf.acquire("b")
    for name in "cd":
        shelf.introduce(stock(shelf, f"{name}@111111aaaaaa"))
    first = asyncio.create_task(shelf.acquire("c"))
    await ticks()
    second = asyncio.create_task(shelf.acquire("d"))
    await ticks()
    assert not first.done()
    assert engine.holds("a@111111aaaaaa", "b@111111aaaaaa")
    shelf.release(reader)
    got = await first
    await ticks()
    assert not second.done(), "who came first goes first"
    shelf.release(got)
    await second
    assert engine.holds("a@111111aaaaaa", "d@111111aaaaaa")
    assert engine.most == 2


async def test_a_version_pinned_by_its_reference_stays_when_its_name_moves():
    shelf, engine = make(pins=["a@111111aaaaaa"])
    one = await publish(shelf, "a@111111aaaaaa")
    two = await publish(shelf, "a@222222aaaaaa")
    await shelf.settled()
    assert engine.holds(one.reference, two.reference)


async def test_waiting_too_long_for_room_is_a_503_and_leaves_nothing_behind():
    shelf, engine = make(most=1, patience=0.01)
    await publish(shelf, "a@111111aaaaaa")
    reader = await shelf.acquire("a")
    entry = stock(shelf, "b@111111aaaaaa")
    for _ in range(2):
        with pytest.raises(NoRoomError, match="--max-adapters") as error:
            await shelf.acquire("b@111111")
        assert error.value.status == 503
    assert (entry.state, entry.users) == (State.AVAILABLE, 0)
    shelf.release(reader)
    shelf.release(await shelf.acquire("b@111111"))
    assert engine.holds(entry.reference)


async def test_a_move_needs_no_room_of_others():
    shelf, engine = make(most=1)
    one = await publish(shelf, "a@111111aaaaaa")
    reader = await shelf.acquire("a")
    two = await publish(shelf, "a@222222aaaaaa")
    assert engine.holds(one.reference, two.reference)
    shelf.release(reader)
    await shelf.settled()
    assert engine.holds(two.reference)
    assert engine.most == 2


async def test_a_move_overtakes_those_who_wait_for_room_for_the_same_version():
    shelf, engine = make(most=1)
    await publish(shelf, "a@111111aaaaaa")
    reader = await shelf.acquire("a")
    two = stock(shelf, "a@222222aaaaaa")
    waiting = asyncio.create_task(shelf.acquire("a@222222"))
    await ticks()
    assert two.state is State.WAITING
    await shelf.move(two)
    assert await waiting is two
    shelf.release(reader)
    await shelf.settled()
    assert engine.holds(two.reference)


# Those who leave


async def test_who_leaves_while_waiting_for_room_takes_none():
    shelf, engine = make(most=1)
    await publish(shelf, "a@111111aaaaaa")
    reader = await shelf.acquire("a")
    entry = stock(shelf, "b@111111aaaaaa")
    waiting = [asyncio.create_task(shelf.acquire("b@111111")) for _ in range(2)]
    await ticks()
    waiting[0].cancel()
    await ticks()
    assert (entry.users, entry.state) == (1, State.WAITING)
    waiting[1].cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await ticks()
    assert (entry.users, entry.state) == (0, State.AVAILABLE)
    shelf.release(reader)
    await ticks()
    assert engine.log == ["load a@111111aaaaaa"]


@pytest.mark.parametrize("ending", ["the client leaves", "patience ends"])
async def test_who_gives_up_while_another_is_unloaded_for_it_leaves_no_half_unloaded_one(ending):
    shelf, engine = make(most=1, patience=NEVER if ending == "the client leaves" else 0.01)
    one = await publish(shelf, "a@111111aaaaaa")
    other = stock(shelf, "b@222222aaaaaa")
    shelf.introduce(other)
    engine.hold_unloads = asyncio.Event()
    waiting = asyncio.create_task(shelf.acquire("b"))
    await ticks()
    assert one.state is State.UNLOADING
    if ending == "the client leaves":
        waiting.cancel()
    result = (await asyncio.gather(waiting, return_exceptions=True))[0]
    assert isinstance(result, asyncio.CancelledError | NoRoomError)
    engine.hold_unloads.set()
    await shelf.settled()
    assert one.state is State.AVAILABLE
    assert shelf.has_room
    shelf.release(await shelf.acquire("b"))
    assert engine.holds(other.reference)


async def test_who_gives_up_putting_away_leaves_no_half_unloaded_one():
    shelf, engine = make(patience=0.01)
    one = await publish(shelf, "a@111111aaaaaa")
    engine.hold_unloads = asyncio.Event()
    with pytest.raises(InUseError):
        await shelf.put_away(one)
    engine.hold_unloads.set()
    await shelf.settled()
    assert one.state is State.AVAILABLE
    assert engine.holds()


async def test_who_comes_as_the_last_one_leaves_is_served():
    shelf, _ = make(most=1)
    await publish(shelf, "a@111111aaaaaa")
    reader = await shelf.acquire("a")
    stock(shelf, "b@111111aaaaaa")
    leaving = asyncio.create_task(shelf.acquire("b@111111"))
    await ticks()
    leaving.cancel()
    coming = asyncio.create_task(shelf.acquire("b@111111"))
    await ticks()
    shelf.release(reader)
    assert (await coming).state is State.LOADED


async def test_who_leaves_while_the_engine_loads_leaves_it_to_the_others():
    shelf, engine = make()
    engine.hold_loads = asyncio.Event()
    entry = stock(shelf, "a@111111aaaaaa")
    tasks = [asyncio.create_task(shelf.acquire("a@111111")) for _ in range(2)]
    await ticks()
    tasks[0].cancel()
    await ticks()
    engine.hold_loads.set()
    assert await tasks[1] is entry
    assert entry.users == 1


async def test_what_was_loaded_for_nobody_any_more_goes_again():
    clock = Clock()
    shelf, engine = make(clock=clock)
    engine.hold_loads = asyncio.Event()
    stock(shelf, "a@111111aaaaaa")
    task = asyncio.create_task(shelf.acquire("a@111111"))
    await ticks()
    task.cancel()
    await ticks()
    engine.hold_loads.set()
    await ticks()
    clock.now += NEVER
    await shelf.tidy()
    assert engine.held == set()


# What goes wrong


async def test_an_unload_that_fails_is_told_and_tried_again():
    shelf, engine = make()
    one = await publish(shelf, "a@111111aaaaaa")
    engine.breaks.add(one.reference)
    two = await publish(shelf, "a@222222aaaaaa")
    await shelf.settled()
    assert "the engine is busy" in shelf.stuck[one.reference]
    assert one.state is State.LOADED
    engine.breaks.clear()
    await shelf.tidy()
    assert shelf.stuck == {}
    assert engine.holds(two.reference)


async def test_what_is_dropped_while_it_is_to_be_loaded_again_for_nobody_is_not_loaded():
    shelf, engine = make()
    one = await publish(shelf, "a@111111aaaaaa")
    engine.hold_unloads = asyncio.Event()
    shelf.unname("a")
    await ticks()
    coming = asyncio.create_task(shelf.acquire("a@111111"))
    await ticks()
    assert (one.state, one.users) == (State.UNLOADING, 1)
    coming.cancel()
    await asyncio.gather(coming, return_exceptions=True)
    shelf.drop(one)
    engine.hold_unloads.set()
    await shelf.settled()
    await ticks()
    assert engine.holds()
    assert shelf.entries() == []


async def test_who_waits_for_an_unload_that_fails_reads_what_is_loaded_still():
    shelf, engine = make()
    one = await publish(shelf, "a@111111aaaaaa")
    engine.hold_unloads = asyncio.Event()
    engine.breaks.add(one.reference)
    shelf.unname("a")
    await ticks()
    coming = asyncio.create_task(shelf.acquire("a@111111"))
    await ticks()
    engine.hold_unloads.set()
    assert (await coming).state is State.LOADED
    assert engine.log == ["load a@111111aaaaaa", "unload a@111111aaaaaa"]


async def test_a_load_that_breaks_leaves_the_version_to_the_next_who_asks(monkeypatch):
    shelf, engine = make()
    entry = stock(shelf, "a@111111aaaaaa")

    async def broken(entry: Entry) -> None:
        raise OSError("no memory")

    with monkeypatch.context() as patch:
        patch.setattr(engine, "load", broken)
        with pytest.raises(OSError, match="no memory"):
            await shelf.acquire("a@111111")
    assert (entry.state, entry.users) == (State.AVAILABLE, 0)
    assert (await shelf.acquire("a@111111")).state is State.LOADED


async def test_putting_away_waits_for_readers_and_gives_up():
    shelf, engine = make(patience=0.01)
    entry = await publish(shelf, "a@111111aaaaaa")
    reader = await shelf.acquire("a")
    with pytest.raises(InUseError):
        await shelf.put_away(entry)
    shelf.release(reader)
    await shelf.put_away(entry)
    assert engine.held == set()
    assert (await shelf.acquire("a")) is entry


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_comes_in_whatever_order_counts_and_room_are_kept(seed):
    """Requests, moves, drops and leavings at random: the fake engine asserts that no reader loses its version."""
    draw = random.Random(seed)
    most = draw.randint(1, 3)
    shelf, engine = make(most=most, clock=Clock(), idle=0.5, patience=0.2, pins=["n0"])
    references = [f"n{name}@{version:06x}aaaaaa" for name in range(3) for version in range(1, 4)]
    for reference in references:
        stock(shelf, reference)

    async def read(asked: str) -> None:
        try:
            entry = await shelf.acquire(asked)
        except (NoVersionError, NoRoomError, UnknownAdapterError):
            return
        try:
            for _ in range(draw.randint(0, 5)):
                assert entry.state is State.LOADED
                assert entry.number in engine.held
                await asyncio.sleep(0)
        finally:
            shelf.release(entry)

    async def move(reference: str) -> None:
        try:
            await shelf.move(stock(shelf, reference))
        except NoRoomError:
            return

    running: list[asyncio.Task[None]] = []
    for _ in range(300):
        reference, what = draw.choice(references), draw.random()
        if what < 0.6:
            asked = reference if draw.random() < 0.3 else reference.partition("@")[0]
            running.append(asyncio.create_task(read(asked)))
        elif what < 0.75:
            running.append(asyncio.create_task(move(reference)))
        elif what < 0.85 and running:
            draw.choice(running).cancel()
        elif what < 0.9:
            entry = shelf.entry(reference)
            if entry is not None:
                shelf.drop(entry)
                stock(shelf, reference)
        await ticks(draw.randint(0, 3))
    results = await asyncio.gather(*running, return_exceptions=True)
    assert not [result for result in results if isinstance(result, Exception)]
    await shelf.tidy()
    await shelf.settled()
    assert all(entry.users == 0 for entry in shelf.entries())
    assert engine.held == {entry.number for entry in shelf.entries() if entry.state is State.LOADED}
    assert len(engine.held) <= most + 1
    assert engine.most <= most + 1
