"""The keeper between a real store and a shelf whose engine is a set."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.server.making import publish

from motet_alignment.store import Adapter, AdapterStore, check, fingerprint
from motet_server import vllm_private
from motet_server.adapters import copies as copies_module
from motet_server.adapters import keeper as keeper_module
from motet_server.adapters.copies import SERVING, Copies, ServerFolder
from motet_server.adapters.engine import GRACE, VllmEngine
from motet_server.adapters.entry import State, number_of
from motet_server.adapters.errors import RefusedError
from motet_server.adapters.keeper import Keeper, listed
from motet_server.adapters.scan import Place, unfit
from motet_server.adapters.shelf import Shelf

pytestmark = pytest.mark.anyio


class FakeClient:
    """vLLM's engine client, as far as adapters go: it reads what it is given, and may load again by itself."""

    def __init__(self) -> None:
        self.loaded: dict[int, Any] = {}
        self.refuses: str | None = None
        self.keeps = False

    async def add_lora(self, lora_request: Any) -> bool:
        if self.refuses:
            raise RuntimeError(f"Call to add_lora method failed: {self.refuses}")
        assert (Path(lora_request.lora_path) / "adapter_model.safetensors").is_file()
        self.loaded[lora_request.lora_int_id] = lora_request
        return True

    async def remove_lora(self, lora_id: int) -> bool:
        if self.keeps:
            raise TimeoutError("the engine is busy")
        return self.loaded.pop(lora_id, None) is not None

    async def list_loras(self) -> set[int]:
        return set(self.loaded)


class House:
    """A store, a server's folder, and all that one process of it has."""

    def __init__(self, root: Path, made: Any, *, most: int = 4, bundled: Path | None = None) -> None:
        self.made = made
        self.store = AdapterStore(root)
        self.folder = ServerFolder(self.store.root)
        self.client = FakeClient()
        self.now = 0.0
        self.requests: dict[str, Any] = {}
        base = fingerprint(made.base)
        self.copies = Copies(self.folder.path)
        self.engine = VllmEngine(
            self.client,
            self.requests,
            self.copies,
            lambda adapter: check(adapter, base, 8, base_folder=made.base),
            clock=lambda: self.now,
        )
        self.shelf = Shelf(self.engine, most=most, patience=5.0)
        places = [
            Place(self.store),
            *([] if bundled is None else [Place(AdapterStore(bundled), bundled=True)]),
        ]
        self.keeper = Keeper(
            self.shelf, self.engine, places, lambda adapter: unfit(adapter, base, 8, ["taken"])
        )

    def publish(self, index: int, name: str, **options: Any) -> Adapter:
        return publish(self.store, self.made.loras[index], self.made.base, name, **options)

    async def seen(self, adapter: Adapter) -> None:
        async with asyncio.timeout(30):
            while self.shelf.current.get(adapter.name) != adapter.reference:
                await asyncio.sleep(0.01)

    async def close(self) -> None:
        task = self.keeper._task
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self.folder.close()


@pytest.fixture
def request_without_vllm(monkeypatch):
    def request(reference: str, number: int, folder: Path) -> Any:
        return SimpleNamespace(lora_name=reference, lora_int_id=number, lora_path=str(folder))

    monkeypatch.setattr(vllm_private, "lora_request", request)
    monkeypatch.setattr(vllm_private, "engine_is_dead", lambda error: False)


@pytest.fixture
async def house(tmp_path, made, request_without_vllm):
    opened: list[House] = []

    def make(**options: Any) -> House:
        opened.append(House(tmp_path / "store", made, **options))
        return opened[-1]

    yield make
    for each in opened:
        await each.close()


@pytest.mark.parametrize("polling", ["0", "1"])
async def test_what_is_published_is_loaded_and_the_old_version_dropped(house, monkeypatch, polling):
    monkeypatch.setenv("WATCHFILES_FORCE_POLLING", polling)
    monkeypatch.setattr(
        keeper_module, "RESCAN", 3600.0
    )  # seen by watching, not by the look every few seconds
    here = house()
    one = here.publish(0, "a")
    await here.keeper.start()
    assert here.requests[one.reference].lora_int_id == number_of(one.reference)
    await asyncio.sleep(0.2)  # the watch begins
    two = here.publish(1, "a")
    await here.seen(two)
    await here.shelf.settled()
    assert set(here.client.loaded) == {number_of(two.reference)}
    assert set(here.requests) == {two.reference}


async def test_a_file_system_that_tells_nothing_is_looked_at(house, monkeypatch):
    monkeypatch.setattr(keeper_module, "RESCAN", 0.05)
    monkeypatch.setattr(keeper_module, "_published", lambda roots: lambda change, path: False)
    here = house()
    await here.keeper.start()
    await here.seen(here.publish(0, "a"))


async def test_at_the_start_there_is_loaded_what_has_room(house):
    here = house(most=2)
    for name in "abc":
        here.publish(0, name)
    await here.keeper.start()
    states = {entry.name: entry.state for entry in here.shelf.entries()}
    assert states == {"a": State.LOADED, "b": State.LOADED, "c": State.AVAILABLE}
    assert (await here.shelf.acquire("c")).state is State.LOADED


async def test_names_and_ranks_that_do_not_fit_are_refused_and_the_rest_is_served(house):
    here = house()
    here.publish(0, "taken")
    good = here.publish(0, "good")
    await here.keeper.start()
    with pytest.raises(RefusedError, match="a model of this server has this name"):
        here.shelf.find("taken")
    assert here.shelf.find("good").reference == good.reference
    adapter = here.store.get("good")
    assert "--max-lora-rank 4" in str(unfit(adapter, adapter.manifest.base, 2, []))
    other = adapter.manifest.base.model_copy(update={"weights": "0" * 64})
    assert "weights differ" in str(unfit(adapter, other, 8, []))
    judge = adapter.manifest.model_copy(update={"kind": "reward"})
    told = unfit(Adapter(judge, adapter.path), adapter.manifest.base, 8, [], "it reads pictures")
    assert told == "rewards can't be scored on this server's model: it reads pictures"


async def test_files_changed_after_publishing_never_reach_the_engine(house):
    here = house()
    one = here.publish(0, "a")
    await here.keeper.start()
    two = here.publish(1, "a", promote=False)
    weights = two.path / "adapter_model.safetensors"
    weights.chmod(0o600)
    weights.write_bytes(weights.read_bytes()[:-4])
    here.store.promote(two.reference)
    await here.keeper.sync()
    assert here.shelf.current["a"] == one.reference
    assert "bytes have changed" in here.keeper.problems["a"]
    assert set(here.client.loaded) == {number_of(one.reference)}
    entry = here.shelf.entry(two.reference)
    assert entry is not None
    assert (listed(entry, here.shelf)["state"], "changed" in str(entry.reason)) == ("refused", True)
    assert not (here.folder.path / two.reference).exists()


async def test_what_the_engine_refuses_keeps_the_name_where_it_is(house):
    here = house()
    one = here.publish(0, "a")
    await here.keeper.start()
    here.client.refuses = "no such module"
    here.publish(1, "a")
    await here.keeper.sync()
    assert here.shelf.current["a"] == one.reference
    assert here.keeper.problems["a"].endswith("the engine doesn't take it: no such module")


async def test_a_store_that_disappears_takes_nothing_along(house):
    here = house()
    one = here.publish(0, "a")
    await here.keeper.start()
    here.store.root.rename(here.store.root.with_name("elsewhere"))
    with pytest.raises(Exception, match="is gone"):
        await here.keeper.sync()
    assert here.shelf.find("a").reference == one.reference
    here.store.root.with_name("elsewhere").rename(here.store.root)
    await here.keeper.sync()
    here.store.remove_all("a")
    await here.keeper.sync()
    await here.shelf.settled()
    assert here.shelf.names() == []


async def test_a_name_of_ones_own_comes_before_the_bundled_one(house, tmp_path, made):
    theirs = publish(AdapterStore(tmp_path / "bundled"), made.loras[0], made.base, "a")
    here = house(bundled=tmp_path / "bundled")
    await here.keeper.start()
    entry = here.shelf.find("a")
    assert (entry.reference, entry.source.bundled) == (theirs.reference, True)
    ours = here.publish(1, "a")
    await here.keeper.sync()
    assert here.shelf.current["a"] == ours.reference


async def test_a_reward_adapter_is_loaded_without_its_head(house, made):
    here = house()
    adapter = publish(here.store, made.reward, made.base, "judge", kind="reward")
    await here.keeper.start()
    copy = here.engine.copies[adapter.reference]
    assert here.requests[adapter.reference].lora_path == str(copy.engine_path) == f"{copy.path}/engine"
    assert copy.head_path is not None
    assert copy.head_path.is_file()


async def test_what_the_engine_loads_again_by_itself_is_dropped_again(house):
    here = house()
    one = here.publish(0, "a")
    await here.keeper.start()
    request = here.requests[one.reference]
    here.publish(1, "a")
    await here.keeper.sync()
    await here.shelf.settled()
    await here.client.add_lora(request)  # a step of a request whose client had left
    await here.engine.let_go()
    assert request.lora_int_id not in here.client.loaded
    here.now += GRACE - 1
    await here.engine.let_go()
    assert Path(request.lora_path).is_dir()  # such a step may still come
    here.now += 1
    await here.engine.let_go()
    assert not Path(request.lora_path).exists()


async def test_what_the_engine_does_not_drop_goes_on_to_be_served(house):
    here = house()
    one = here.publish(0, "a")
    await here.keeper.start()
    request, copy = here.requests[one.reference], here.engine.copies[one.reference]
    here.client.keeps = True
    here.publish(1, "a")
    await here.keeper.sync()
    await here.shelf.settled()
    assert "the engine is busy" in here.shelf.stuck[one.reference]
    entry = await here.shelf.acquire(one.reference)
    assert (here.requests[one.reference], here.engine.copies[one.reference]) == (request, copy)
    here.now += GRACE
    await here.engine.let_go()
    assert copy.path.is_dir()
    here.client.keeps = False
    here.shelf.release(entry)
    await here.shelf.put_away(entry)
    assert (one.reference in here.requests, request.lora_int_id in here.client.loaded) == (False, False)
    await here.engine.let_go()
    here.now += GRACE
    await here.engine.let_go()
    assert not copy.path.exists()


# The server's own copies


async def test_a_copy_outlives_what_it_was_made_of_and_costs_no_room(house):
    here = house()
    one = here.publish(0, "a")
    copy = here.copies.take(one.reference, one.path, one.manifest.files)
    name = "adapter_model.safetensors"
    assert os.stat(copy / name).st_ino == os.stat(one.path / name).st_ino
    here.store.remove(one.reference)
    assert (copy / name).is_file()
    assert here.copies.leave(one.reference)
    here.copies.remove(one.reference)
    assert not copy.exists()


async def test_the_last_process_of_a_server_to_leave_sees_to_the_copy(house):
    here = house()
    one = here.publish(0, "a")
    other = Copies(here.folder.path)
    for copies in (here.copies, other):
        copy = copies.take(one.reference, one.path, one.manifest.files)
    assert not other.leave(one.reference)
    other.remove(one.reference)
    assert copy.is_dir()
    assert here.copies.leave(one.reference)
    here.copies.remove(one.reference)
    assert not copy.exists()


async def test_of_two_processes_the_last_to_leave_has_the_engine_drop_a_version(house):
    first, second = house(), house()
    second.client = first.client
    second.engine._client = first.client
    second.copies._root = first.folder.path
    one = first.publish(0, "a")
    for each in (first, second):
        await each.keeper.start()
    two = first.publish(1, "a")
    for each in (first, second):
        assert number_of(one.reference) in first.client.loaded
        await each.keeper.sync()
        await each.shelf.settled()
    assert set(first.client.loaded) == {number_of(two.reference)}
    for each in (first, second):
        each.now += GRACE
        await each.engine.let_go()
    assert [path.name for path in first.folder.path.iterdir() if "@" in path.name and path.is_dir()] == [
        two.reference
    ]


async def test_a_link_in_the_place_of_a_file_is_not_followed(house, tmp_path):
    here = house()
    one = here.publish(0, "a")
    weights = one.path / "adapter_model.safetensors"
    shutil.copy(weights, tmp_path / "outside")
    weights.unlink()
    weights.symlink_to(tmp_path / "outside")
    with pytest.raises(RefusedError, match="can't be read"):
        here.copies.take(one.reference, one.path, one.manifest.files)
    assert not (here.folder.path / one.reference).exists()


async def test_a_file_system_without_links_gets_copies(house, monkeypatch):
    def no_links(*arguments: Any, **options: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    here = house()
    one = here.publish(0, "a")
    await here.keeper.start()
    assert set(here.client.loaded) == {number_of(one.reference)}


async def test_a_full_disk_refuses_no_version_for_good(house, monkeypatch):
    here = house()
    one = here.publish(0, "a")
    await here.keeper.start()
    two = here.publish(1, "a")

    def full(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(copies_module, "_copy", full)
        await here.keeper.sync()
        assert "No space left on device" in here.keeper.problems["a"]
        assert here.shelf.current["a"] == one.reference
    await here.keeper.sync()
    assert (here.shelf.current["a"], here.keeper.problems) == (two.reference, {})


async def test_folders_of_dead_servers_are_removed_and_of_living_ones_not(tmp_path):
    store = tmp_path / "store"
    living = ServerFolder(store)
    dead = store / SERVING / "dead"
    dead.mkdir()
    (dead / ".alive").touch()
    (dead / "copy").touch()
    another = ServerFolder(store)
    assert sorted((store / SERVING).iterdir()) == sorted([living.path, another.path])
    for folder in (living, another):
        folder.close()
    assert list((store / SERVING).iterdir()) == []


async def test_a_store_that_can_only_be_read_is_served_from_elsewhere(tmp_path):
    (tmp_path / "store").write_text("not even a folder")
    folder = ServerFolder(tmp_path / "store")
    assert tmp_path not in folder.path.parents
    folder.close()
    assert not folder.path.exists()
