"""Run as a program: forks processes that publish into a store, to be killed by the test or by themselves.

Arguments: the store, the base's folder, and adapters' folders. Each line of the input begins one process: ``loop``
works on the store until it is killed, ``crash K`` publishes once and kills itself before its K-th change to the disk,
``once NAME I`` publishes folder I as NAME, ``small N`` publishes with no file allowed to pass N bytes. For each line
the process's number is printed, and when it is over, how it ended: an exit code, or minus a signal.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from pathlib import Path

from motet_alignment.errors import StoreError
from motet_alignment.store import AdapterStore, fingerprint
from motet_alignment.store.engine_files import (
    as_float32,
)  # and with it, before any fork, all that is imported late

CHANGES = ("open", "write", "fsync", "fchmod", "mkdir", "rename", "replace", "unlink", "rmdir")


def main() -> None:
    as_float32(b"\0\0\0\0", "F32")
    store, base_folder = AdapterStore(Path(sys.argv[1])), Path(sys.argv[2])
    folders = [Path(folder) for folder in sys.argv[3:]]
    base = fingerprint(base_folder)

    def publish(folder: Path, name: str = "tutor") -> None:
        kind = "reward" if "score" in folder.name else "sft"
        store.publish(folder, name=name, kind=kind, base=base, base_folder=base_folder)

    def work(order: str, *told: str) -> None:
        if order == "crash":
            die_before_change(int(told[0]))
            publish(folders[-1])
        elif order == "once":
            publish(folders[int(told[1])], told[0])
        elif order == "small":
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(told[0]), int(told[0])))
            publish(folders[-1])
        while order == "loop":
            for folder in folders:
                publish(folder)
                publish(folder, "second")
            store.rollback("tutor")
            store.promote(f"second@{store.versions('second')[0].version}")
            store.prune("tutor", keep=1)
            store.remove("second", force=True) if len(store.versions("second")) == 1 else store.remove_all(
                "second"
            )

    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                work(*line.split())
            except StoreError as error:
                print(error, file=sys.stderr, flush=True)
                os._exit(3)
            os._exit(0)
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def die_before_change(count: int) -> None:
    """Replaces the calls by which a process changes the disk: the ``count``-th (from 0) is never made."""
    left = count

    def dying(call):
        def counted(*arguments, **options):
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
            return call(*arguments, **options)

        return counted

    for name in CHANGES:
        setattr(os, name, dying(getattr(os, name)))


if __name__ == "__main__":
    main()
