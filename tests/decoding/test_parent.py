"""Processes that end with the one that started them, also where that one is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

# Starts a child by multiprocessing, as vLLM does, says its number and waits to be killed.
PARENT = """
import multiprocessing, time

def child(pipe):
    from motet_decoding.engine.parent import end_with_parent

    end_with_parent()
    pipe.send("ready")
    time.sleep(600)

if __name__ == "__main__":
    here, there = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=child, args=(there,))
    process.start()
    here.recv()
    print(process.pid, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize(("asked", "ends"), [("1", True), ("", False)])
def test_a_child_ends_with_its_killed_parent_where_that_is_asked(tmp_path, asked: str, ends: bool):
    """kill -9 runs no clean-up: it is the kernel that ends the child."""
    script = tmp_path / "parent.py"
    script.write_text(PARENT, "utf-8")
    environment = {**os.environ, "MOTET_ENDS_WITH_PARENT": asked}
    with subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, text=True, env=environment
    ) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    if ends:
        child.wait(timeout=60)
    else:
        time.sleep(0.5)
        assert child.is_running()
        child.kill()
