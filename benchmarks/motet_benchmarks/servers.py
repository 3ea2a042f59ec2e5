"""motet's own server as child processes: started together, awaited, and ended whatever happens."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from motet_benchmarks.endpoint import together
from motet_benchmarks.errors import BenchmarkError

#: What starts a server; the arguments of `motet serve` follow.
SERVE = (sys.executable, "-m", "motet_server", "serve")
START_SECONDS = 600.0
END_SECONDS = 20.0
DYING_SECONDS = 2.0
#: Lines of a dead server's log that are shown.
LAST_LINES = 15


@dataclass(frozen=True, slots=True)
class Child:
    """One server process, its address and its log."""

    name: str
    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def last_words(self) -> str:
        """The end of the log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return "\n".join(f"  {line}" for line in lines[-LAST_LINES:]) or "  (it said nothing)"


@asynccontextmanager
async def servers(
    arguments: Mapping[str, Sequence[str]], *, command: Sequence[str] = SERVE
) -> AsyncIterator[dict[str, str]]:
    """The URLs, by name, of servers started with `arguments`, each on a free port of 127.0.0.1.

    Raises BenchmarkError with the end of its log if one dies at its start or doesn't answer in time; a BenchmarkError
    raised inside is told apart by whether the servers live. All are ended on the way out, by Ctrl-C and SIGTERM too.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="motet-bench-")))
        stack.enter_context(terminable())
        children: list[Child] = []
        stack.callback(_end, children)
        for name, words in arguments.items():
            children.append(_start(name, [*command, *words], folder / f"{name}.log"))
        async with httpx.AsyncClient(timeout=5.0, trust_env=False) as client:
            await together([_ready(child, client) for child in children])
        try:
            yield {child.name: child.url for child in children}
        except BenchmarkError as error:
            if not children:
                raise
            raise BenchmarkError(f"{error}\n{_condition(children)}") from None


def side_by_side(options: Sequence[str], dtype: str | None) -> list[str]:
    """`options` for servers that are compared: of one precision, and on a GPU each in a part of the memory only.

    Raises BenchmarkError where the options name a precision of their own.
    """
    told = {option.split("=", 1)[0] for option in options}
    if "--dtype" in told:
        raise BenchmarkError(
            "--serve-options: say --dtype to the benchmark, which tells the servers and the loop"
        )
    # vLLM takes nearly all of a GPU's memory by default.
    gpu = Path("/proc/driver/nvidia/version").exists()
    part = ["--gpu-memory-utilization", "0.25"] if gpu and "--gpu-memory-utilization" not in told else []
    return [*options, *part, *(["--dtype", dtype] if dtype is not None else [])]


def _start(name: str, words: Sequence[str], log: Path) -> Child:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*words, "--host", "127.0.0.1", "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Without a key for servers of the user's own, which ours would ask of us.
            env={**{k: v for k, v in os.environ.items() if k != "VLLM_API_KEY"}, "PYTHONUNBUFFERED": "1"},
            # Its own group: Ctrl-C in a terminal reaches us alone, and we end the engine's processes with it.
            start_new_session=True,
        )
    return Child(name, process, f"http://127.0.0.1:{port}", log)


async def _ready(child: Child, client: httpx.AsyncClient) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        code = child.process.poll()
        if code is not None:
            raise BenchmarkError(
                f"the {child.name} server died at its start (exit code {code}):\n{child.last_words()}"
            )
        if time.monotonic() > deadline:
            raise BenchmarkError(
                f"the {child.name} server didn't answer within {START_SECONDS:.0f} s:\n{child.last_words()}"
            )
        with suppress(httpx.TransportError):
            if (await client.get(f"{child.url}/health")).status_code == 200:
                return
        await asyncio.sleep(0.3)


def _condition(children: Sequence[Child]) -> str:
    """Which of `children` have died, and of what."""
    # Whoever has just hung up may need a moment to be gone.
    time.sleep(DYING_SECONDS)
    dead = [(child, code) for child in children if (code := child.process.poll()) is not None]
    if not dead:
        return (
            f"the servers that were started are still running: {', '.join(child.name for child in children)}"
        )
    return "\n".join(
        f"the {child.name} server has died (exit code {code}):\n{child.last_words()}" for child, code in dead
    )


def _end(children: Sequence[Child]) -> None:
    """SIGINT to all, as Ctrl-C sends it; then the end of whatever is left of their groups."""
    try:
        for child in children:
            if child.process.poll() is None:
                child.process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + END_SECONDS
        for child in children:
            with suppress(subprocess.TimeoutExpired):
                child.process.wait(timeout=max(0.1, deadline - time.monotonic()))
    finally:
        for child in children:
            with suppress(ProcessLookupError):
                os.killpg(child.process.pid, signal.SIGKILL)
            child.process.wait()


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM ends the running task as Ctrl-C does, and then the process: no child is left, and no answer is lost."""
    task, ended = asyncio.current_task(), False
    assert task is not None
    loop = asyncio.get_running_loop()

    def leave(number: int, frame: object) -> None:
        nonlocal ended
        if ended:
            raise SystemExit(128 + number)
        ended = True
        loop.call_soon_threadsafe(task.cancel)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    except asyncio.CancelledError:
        if not ended:
            raise
        raise SystemExit(128 + signal.SIGTERM) from None
    finally:
        signal.signal(signal.SIGTERM, before)
