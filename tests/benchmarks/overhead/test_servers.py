from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import httpx
import pytest

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.pair import Pair
from motet_benchmarks.servers import servers, side_by_side

#: Answers /health, ends at /end and, like an engine, has a process of its own; ends at SIGINT without ending that.
ANSWERING = textwrap.dedent(
    """
    import http.server, pathlib, subprocess, sys
    child = subprocess.Popen(["sleep", "600"])
    pathlib.Path(sys.argv[1]).write_text(str(child.pid))
    port = int(sys.argv[sys.argv.index("--port") + 1])
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/end":
                sys.exit("out of breath")
            self.send_response(200 if self.path == "/health" else 404)
            self.end_headers()
        def log_message(self, *words):
            pass
    http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
    """
)


def alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def gone(process: int) -> bool:
    deadline = time.monotonic() + 20
    while alive(process) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not alive(process)


@pytest.mark.anyio
async def test_servers_run_side_by_side_and_leave_nothing_behind(tmp_path: Path):
    notes = {name: tmp_path / name for name in ("one", "two")}
    command = [sys.executable, "-c", ANSWERING]
    async with servers({name: [str(note)] for name, note in notes.items()}, command=command) as urls:
        assert list(urls) == ["one", "two"]
        assert len(set(urls.values())) == 2
        for url in urls.values():
            assert httpx.get(f"{url}/health").status_code == 200
        engines = [int(note.read_text()) for note in notes.values()]
        assert all(alive(engine) for engine in engines)
    assert all(gone(engine) for engine in engines)


@pytest.mark.anyio
async def test_a_server_that_dies_says_its_last_words_and_takes_the_others_along(tmp_path: Path):
    note = tmp_path / "one"
    program = ANSWERING.replace(
        "import http", "import sys\nif sys.argv[1] == 'bad': sys.exit('no such model')\nimport http", 1
    )
    with pytest.raises(
        BenchmarkError, match=r"the bad server died at its start \(exit code 1\):\n  no such model"
    ):
        async with servers({"good": [str(note)], "bad": ["bad"]}, command=[sys.executable, "-c", program]):
            pytest.fail("not all servers had started")
    assert not note.exists() or gone(int(note.read_text()))


async def fail(folder: Path, *, ended: str | None) -> None:
    """Raises an error beside two servers, one of which may have `ended` before."""
    arguments = {name: [str(folder / name)] for name in ("one", "two")}
    async with servers(arguments, command=[sys.executable, "-c", ANSWERING]) as urls:
        if ended is not None:
            with pytest.raises(httpx.RemoteProtocolError):
                httpx.get(f"{urls[ended]}/end")
        raise BenchmarkError("no answer")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("ended", "message"),
    [
        (None, "the servers that were started are still running: one, two"),
        ("two", "the two server has died (exit code 1):\n  out of breath"),
    ],
)
async def test_an_error_inside_says_which_servers_live(tmp_path: Path, ended: str | None, message: str):
    with pytest.raises(BenchmarkError) as caught:
        await fail(tmp_path, ended=ended)
    assert str(caught.value) == f"no answer\n{message}"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_servers_too(tmp_path: Path, number: signal.Signals, code: int):
    note = tmp_path / "engine"
    program = textwrap.dedent(
        f"""
        import asyncio, signal, sys
        from motet_benchmarks.servers import servers
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
        async def main():
            async with servers({{"one": [{str(note)!r}]}}, command=[sys.executable, "-c", {ANSWERING!r}]):
                print("ready", flush=True)
                await asyncio.sleep(600)
        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            sys.exit(130)
        """
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        engine = int(note.read_text())
        assert alive(engine)
        process.send_signal(number)
        assert process.wait(timeout=60) == code
    finally:
        process.kill()
        process.wait()
    assert gone(engine)
    assert not os.path.exists(f"/proc/{process.pid}")


def test_what_the_two_servers_are_told():
    told = Pair("large", "small").arguments(["--max-model-len", "64"])
    assert told == {
        "pair": ["large", "--amateur", "small", "--max-model-len", "64"],
        "expert": ["large", "--max-model-len", "64"],
    }
    with pytest.raises(BenchmarkError, match="give both"):
        Pair("large")


def test_compared_servers_share_a_precision():
    assert side_by_side(["--max-model-len", "64"], "float16")[-2:] == ["--dtype", "float16"]
    assert "--dtype" not in side_by_side([], None)
    with pytest.raises(BenchmarkError, match="say --dtype to the benchmark"):
        side_by_side(["--dtype=float32"], "float16")
