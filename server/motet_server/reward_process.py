"""Starting the servers of reward models, each in a process of its own that ends with the one that started it."""

from __future__ import annotations

import ctypes
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from motet_decoding.errors import LaunchError
from motet_server.settings import RewardModel

#: The share of a GPU's memory that a reward model's server takes.
GPU_SHARE = 0.2

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG


def read_rewards(options: Sequence[str]) -> dict[str, str]:
    """``NAME=MODEL`` each, as models by name.

    Raises:
        LaunchError: naming the option.
    """
    models: dict[str, str] = {}
    for option in options:
        name, equals, model = option.partition("=")
        if not equals or not model or not _NAME.fullmatch(name):
            raise LaunchError(
                f"--reward {option}: must be NAME=MODEL, the name of letters, digits, '.', '_', '-'"
            )
        if name in models:
            raise LaunchError(f"--reward {name}: named twice")
        folder = Path(model).expanduser()
        if folder.is_dir() and not (folder / "config.json").is_file():
            raise LaunchError(f"--reward {name}: {model} has no config.json, so it isn't a model's folder")
        if not folder.exists() and (model.count("/") > 1 or model.startswith((".", "/", "~"))):
            raise LaunchError(f"--reward {name}: {model} doesn't exist")
        models[name] = str(folder) if folder.exists() else model
    return models


class RewardProcesses:
    """The running servers of reward models.

    Args:
        models: the checkpoints, by name.
        cpu: whether they run on the CPU.
        verbose: whether they may print.
    """

    def __init__(self, models: Mapping[str, str], *, cpu: bool, verbose: bool) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []
        self._logs = Path(tempfile.mkdtemp(prefix="motet-rewards-"))
        self.models = [self._start(name, model, cpu, verbose) for name, model in models.items()]

    def _start(self, name: str, model: str, cpu: bool, verbose: bool) -> RewardModel:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        key = secrets.token_urlsafe(32)
        log = self._logs / f"{name}.log"
        arguments = [model, "--runner", "pooling", "--host", "127.0.0.1", "--port", str(port)]
        arguments += ["--served-model-name", name, "--enforce-eager", "--max-num-seqs", "64"]
        arguments += ["--uvicorn-log-level", "warning"]
        if cpu and _trained_in(model) == "float32":
            # vLLM would round it, and rewards are told apart by their small differences.
            arguments += ["--dtype", "float32"]
        if not cpu:
            arguments += ["--gpu-memory-utilization", str(GPU_SHARE)]
        environment = {
            **os.environ,
            "VLLM_API_KEY": key,  # not on the command line, where everybody on the machine could read it
            "VLLM_LOGGING_LEVEL": os.environ.get("VLLM_LOGGING_LEVEL", "ERROR"),
        }
        for ours in ("MOTET_ENGINE_KEY", "VLLM_PLUGINS"):
            environment.pop(ours, None)
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "motet_server.reward_process", str(os.getpid()), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=None if verbose else output,
                stderr=None if verbose else subprocess.STDOUT,
                env=environment,
                start_new_session=True,  # Ctrl-C is the starter's to pass on
            )
        self._processes.append(process)
        threading.Thread(target=process.wait, name=f"motet-reward-{name}", daemon=True).start()
        return RewardModel(
            name=name,
            model=model,
            url=f"http://127.0.0.1:{port}",
            key=key,
            process=process.pid,
            log=str(log),
        )

    def close(self) -> None:
        """Ends them all, by force where asking isn't enough."""
        for process in self._processes:
            if process.poll() is None:
                process.terminate()
        for process in self._processes:
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
        for log in self._logs.glob("*.log"):
            log.unlink()
        self._logs.rmdir()


def _trained_in(model: str) -> str | None:
    """The type that a checkpoint's folder says its weights have."""
    file = Path(model) / "config.json"
    if not file.is_file():
        return None
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise LaunchError(f"{file}: not JSON: {error}") from None
    return config.get("dtype") or config.get("torch_dtype") if isinstance(config, dict) else None


def main(parent: int, arguments: Sequence[str]) -> None:
    """Serves a pooling model by vLLM's own server, until told to stop or the parent is no more."""
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGTERM)
    if os.getppid() != parent:
        return  # it ended before this was set
    from motet_server import launch_private

    launch_private.serve(launch_private.parse_options(arguments, {}))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
