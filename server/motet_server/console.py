"""What people see of a server's start: one line while it loads, one short block when it answers."""

from __future__ import annotations

import json
import os
import shlex
import socket
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner


class StartDisplay:
    """Shows that the server is starting until something listens at its address, then ``block``.

    Args:
        address: host and port that the server will listen on.
        waiting: what to say meanwhile.
        block: the lines to print when it does.
    """

    def __init__(self, address: tuple[str, int], waiting: str, block: Sequence[str]) -> None:
        self._address = address
        self._waiting = waiting
        self._block = block
        self._console = Console(file=sys.stdout, highlight=False)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="motet-start", daemon=True)

    def __enter__(self) -> StartDisplay:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        if not self._console.is_terminal:
            print(self._waiting, flush=True)
            self._wait()
        else:
            # Redirecting would put rich's stand-ins where the engine's processes expect real streams.
            with Live(
                Spinner("dots", self._waiting),
                console=self._console,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            ):
                self._wait()
        if not self._over.is_set():
            # One write, unwrapped: the curl in it must survive being copied.
            os.write(sys.stdout.fileno(), ("\n".join(["", *self._block, ""]) + "\n").encode())

    def _wait(self) -> None:
        while not self._over.is_set() and not _listening(self._address):
            time.sleep(0.2)


def _listening(address: tuple[str, int]) -> bool:
    # vLLM binds its port at once but listens only when the engine is ready.
    try:
        socket.create_connection(address, timeout=1).close()
    except OSError:
        return False
    return True


def start_block(
    *,
    version: str,
    model: str,
    source: str,
    amateur: str | None,
    address: str,
    presets: Sequence[str],
    key: bool,
    voices: str,
    adapters: Sequence[str] = (),
    rewards: Sequence[str] = (),
    revision: str | None = None,
    shortened: int | None = None,
) -> list[str]:
    """The lines that say what is served where, and how to ask it something.

    Args:
        version: motet's.
        model: the name requests call it by.
        source: where it came from.
        amateur: the second model, if any.
        address: the server's URL, without a path.
        presets: names behind the colon.
        voices: a line about what else a contrast may hear.
        adapters: lines about them.
        rewards: a line about each reward model served beside.
        key: whether requests need the server's API key.
        revision: the amateur's branch, tag or commit, where one was named.
        shortened: the context in tokens, where the amateur reads less than the model.
    """
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": "What is 17 + 25?"}]}
    if amateur is not None:
        body["contrast"] = True
    curl = [
        f"curl {address}/v1/chat/completions",
        "-H 'Content-Type: application/json'",
        *(['-H "Authorization: Bearer $VLLM_API_KEY"'] if key else []),
        f"-d {shlex.quote(json.dumps(body))}",
    ]
    return [
        f"motet {version}",
        f"  model    {model}" + (f"  ({source})" if source != model else ""),
        f"  amateur  {amateur or 'none (--amateur MODEL)'}" + (f"  ({revision})" if revision else ""),
        f"  voices   {voices}",
        *([f"  context  {shortened} tokens, all that the amateur reads"] if shortened else []),
        *([f"  presets  {'  '.join(f'{model}:{preset}' for preset in presets)}"] if presets else []),
        *(f"  {'adapters' if index == 0 else '':<8} {line}" for index, line in enumerate(adapters)),
        *(f"  {'rewards' if index == 0 else '':<8} {line}" for index, line in enumerate(rewards)),
        f"  address  {address}/v1",
        "",
        " \\\n    ".join(["  " + curl[0], *curl[1:]]),
    ]
