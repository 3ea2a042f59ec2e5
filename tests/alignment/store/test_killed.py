"""Publishers that are killed, that meet, that find the disk full: the store stays whole."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.alignment.store.folders import assert_whole, make_adapter, make_reward, rests

from motet_alignment.errors import StoreError
from motet_alignment.store import AdapterStore

KILLS = 100


class Publishers:
    """The other side of publisher.py."""

    def __init__(self, store: AdapterStore, base_folder: Path, folders: list[Path]) -> None:
        program = Path(__file__).with_name("publisher.py")
        self.process = subprocess.Popen(
            [sys.executable, program, store.root, base_folder, *folders],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def begin(self, order: str) -> int:
        """Starts a process; its number."""
        assert self.process.stdin is not None
        self.process.stdin.write(order + "\n")
        self.process.stdin.flush()
        return self._number()

    def ended(self) -> int:
        """Waits for the process begun last; its exit code, or minus the signal that ended it."""
        return self._number()

    def _number(self) -> int:
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())

    def complaint(self) -> str:
        """What a process that exited with 3 had to say."""
        assert self.process.stderr is not None
        return self.process.stderr.readline()


@pytest.fixture
def folders(tmp_path) -> list[Path]:
    return [make_adapter(tmp_path / f"folder-{seed}", seed=seed) for seed in range(2)] + [
        make_reward(tmp_path / "score")
    ]


@pytest.fixture
def publishers(store, base_folder, folders) -> Iterator[Callable[[], Publishers]]:
    begun: list[Publishers] = []

    def begin() -> Publishers:
        begun.append(Publishers(store, base_folder, folders))
        return begun[-1]

    yield begin
    for each in begun:
        each.process.kill()
        each.process.communicate()


def test_store_is_whole_after_a_hundred_kills_at_random_instants(store, publishers, publish):
    chance = random.Random(4)
    publisher = publishers()
    interrupted = 0
    for _ in range(KILLS):
        child = publisher.begin("loop")
        time.sleep(chance.uniform(0.001, 0.06))
        os.kill(child, signal.SIGKILL)
        assert publisher.ended() == -signal.SIGKILL
        interrupted += bool(rests(store))
        assert_whole(store)
    # Far from all, or the instants weren't random; the test below goes through them one by one.
    assert interrupted > 0
    publish(7)
    assert rests(store) == []
    assert store.get("tutor").manifest.kind == "sft"
    assert_whole(store)


def test_a_kill_before_any_change_to_the_disk_leaves_the_store_whole(store, publishers, publish):
    before = publish(5)
    publisher = publishers()
    changes = 0
    while True:
        publisher.begin(f"crash {changes}")
        if (code := publisher.ended()) == 0:
            break
        assert code == -signal.SIGKILL
        assert_whole(store)
        assert store.current("tutor") in {adapter.version for adapter in store.versions("tutor")}
        assert store.get(before.reference) == before
        store.sweep()
        assert rests(store) == []
        if len(store.versions("tutor")) == 2:
            # Killed between the version and the name: both are whole, and the name may still mean the old one.
            store.rollback("tutor") if store.current("tutor") != before.version else None
            store.remove(next(a for a in store.versions("tutor") if a.version != before.version).reference)
        changes += 1
    assert changes > 30
    assert len(store.versions("tutor")) == 2
    assert store.current("tutor") != before.version


def test_many_publishers_at_once_all_succeed(store, publishers, folders):
    crowd = [publishers() for _ in range(4)]
    for name in ("same", "same", "other"):
        for index, publisher in enumerate(crowd):
            publisher.begin(f"once {name} {index % len(folders)}")
        assert [publisher.ended() for publisher in crowd] == [0] * len(crowd)
    assert store.names() == ["other", "same"]
    for name in store.names():
        assert len(store.versions(name)) == len(folders)
        assert store.get(name)
    assert_whole(store)
    assert rests(store) == []


def test_threads_that_publish_move_and_remove_at_once(store, publish):
    for seed in range(3):
        publish(seed)

    def work(seed: int) -> None:
        for _ in range(8):
            publish(seed)
            store.promote(publish(seed, promote=False).reference)
            store.get("tutor")
            store.prune("tutor", keep=3)

    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(work, range(3))) == [None] * 3
    assert len(store.versions("tutor")) == 3
    assert_whole(store)
    assert rests(store) == []


def test_a_file_that_may_not_grow_is_a_clear_error(store, publishers, publish):
    before = publish(5)
    publisher = publishers()
    for limit in (0, 100, 1_000, 4_000):
        publisher.begin(f"small {limit}")
        assert publisher.ended() == 3
        assert "the disk is full or a quota is reached while publishing tutor" in publisher.complaint()
        assert rests(store) == []
        assert store.versions("tutor") == [before]
    assert_whole(store)


@pytest.mark.parametrize("call", ["write", "fsync", "mkdir", "rename", "replace"])
@pytest.mark.parametrize("named", [True, False])
def test_a_full_disk_at_any_moment_leaves_nothing_and_says_so(
    store, publish, base, base_folder, tmp_path, monkeypatch, call, named
):
    folder = make_adapter(tmp_path / "folder")
    before = [publish(5)] if named else []
    publish(5, name="other")
    said: list[str] = []
    for moment in range(200):
        failing = Failing(getattr(os, call), moment)
        with monkeypatch.context() as patch:
            patch.setattr(os, call, failing)
            try:
                publish(folder)
            except StoreError as error:
                said.append(str(error))
            else:
                if not failing.failed:
                    break
                store.remove(
                    publish(folder).reference, force=True
                )  # pathlib didn't mind: it was there already
        assert rests(store) == []
        assert store.names() == (["other", "tutor"] if named else ["other"])
        if named:
            assert store.versions("tutor") == before
            assert store.current("tutor") == before[0].version
        assert_whole(store)
    assert said
    assert all("the disk is full" in words for words in said)
    assert store.get("tutor").version not in {adapter.version for adapter in before}


class Failing:
    """A call of the operating system that finds the disk full once, after ``moment`` times."""

    def __init__(self, call: Callable[..., object], moment: int) -> None:
        self.call, self.left, self.failed = call, moment, False

    def __call__(self, *arguments: object, **options: object) -> object:
        if self.left == 0 and not self.failed:
            self.failed = True
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")
        self.left -= 1
        return self.call(*arguments, **options)


def test_a_store_that_may_not_be_written_is_a_clear_error(store, publish, tmp_path, monkeypatch):
    folder = make_adapter(tmp_path / "folder")

    def forbidden(*arguments, **options):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(store.root))

    monkeypatch.setattr(os, "mkdir", forbidden)
    with pytest.raises(StoreError, match="no right to write while publishing tutor"):
        publish(folder)


def test_what_the_dead_left_is_swept_and_the_living_are_spared(store, publish):
    from motet_alignment.store.staging import staged

    publish(1)
    dead = store.root / ".staging" / "dead"
    (dead / "files").mkdir(parents=True)
    (dead / "files" / "adapter_model.safetensors").write_bytes(b"half")
    (dead / "owner.lock").touch()
    with staged(store.root) as living:
        (living / "something").touch()
        assert not dead.exists()
        publish(2)
        assert store.sweep() == 0
        assert (living / "something").exists()
    assert rests(store) == []
