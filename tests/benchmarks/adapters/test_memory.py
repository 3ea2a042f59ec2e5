"""A server's memory, read off from outside."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from motet_benchmarks.adapters.memory import watch

#: Listens, holds memory in a process of its own, and takes more when it is told.
SERVER = textwrap.dedent(
    """
    import socket, subprocess, sys
    held = "import sys; held = b'x' * (64 << 20); print(len(held), flush=True); sys.stdin.read()"
    listener = socket.create_server(("127.0.0.1", 0))
    child = subprocess.Popen([sys.executable, "-c", held], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdout.readline()
    print(listener.getsockname()[1], flush=True)
    sys.stdin.readline()
    more = b"y" * (32 << 20)
    print(len(more), flush=True)
    sys.stdin.readline()
    child.stdin.close()
    child.wait()
    """
)


@pytest.fixture
def server():
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    yield process
    process.communicate("\n\n", timeout=30)


def test_all_processes_of_a_server_are_counted(server: subprocess.Popen[str]):
    assert server.stdin is not None
    assert server.stdout is not None
    port = int(server.stdout.readline())
    read = watch(f"http://127.0.0.1:{port}")
    before = read()
    assert before is not None
    assert before > 64 << 20
    server.stdin.write("\n")
    server.stdin.flush()
    server.stdout.readline()
    after = read()
    assert after is not None
    assert 31 << 20 < after - before < 40 << 20


def test_a_server_elsewhere_has_no_memory_that_could_be_read():
    assert watch("http://example.invalid:8000")() is None
    assert watch("http://127.0.0.1:1")() is None
