"""A real server in its own process, for the tests that talk to one over HTTP."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import openai
import pytest

#: A start takes 30 s of two free cores, and many times that on a busy machine; less than pytest's own time limit, which
#: would end a test without the server's last words.
START_SECONDS = 500

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl, and this machine has none")


@dataclass(frozen=True)
class Server:
    """A running server, its address and what it printed while starting."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    @property
    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def http(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=120)

    def client(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0, timeout=120)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples whose labels include ``labels``."""
        total = 0.0
        for line in httpx.get(f"{self.url}/metrics", timeout=30).text.splitlines():
            sample = re.fullmatch(r"([\w:]+)(?:\{(.*)\})? (\S+)", line)
            if (
                sample
                and sample[1] == name
                and all(f'{k}="{v}"' in (sample[2] or "") for k, v in labels.items())
            ):
                total += float(sample[3])
        return total


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "PYTHONUNBUFFERED": "1"}


def running_server(arguments: Sequence[str], log: Path) -> Iterator[Server]:
    """Starts ``motet serve``, waits until it answers, and ends it as Ctrl-C would."""
    port = free_port()
    command = [
        "nice",
        "-n",
        "5",
        sys.executable,
        "-m",
        "motet_server",
        "serve",
        *arguments,
        "--port",
        str(port),
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=environment(), start_new_session=True
        )
    server = Server(process, f"http://127.0.0.1:{port}", log)
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(
                    f"the server did not start (exit code {process.poll()}):\n{server.output[-8000:]}"
                )
            try:
                if httpx.get(f"{server.url}/health", timeout=5).status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.3)
        yield server
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> int:
    """SIGINT, as Ctrl-C sends it; the whole group is ended if that isn't enough."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        return process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.wait(timeout=60)


def pasted(script: str) -> str:
    """What ``script`` prints when it is pasted into a shell."""
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done
    return done.stdout


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Looks until ``condition`` holds; fails after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
