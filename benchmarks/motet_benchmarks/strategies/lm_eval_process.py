"""The `lm_eval` program as a process: of this environment, or of another one on the PATH."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from motet_benchmarks.endpoint import KEY_VARIABLE
from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.strategies.lm_eval_proxy import Answering, proxy
from motet_benchmarks.strategies.lm_eval_rows import Choice, Row, chosen, read

PREFIX = "lm-eval:"
INSTALL = "pipx install 'lm-eval[api]', or pip install 'motet[lm-eval]'"
#: What is decided here and can't be said in --lm-eval-options.
_OURS = frozenset(
    "--model -M --model_args -a --tasks -t --apply_chat_template --limit -L --log_samples -s --output_path -o "
    "--batch_size -b --gen_kwargs --predict_only -x --trust_remote_code --use_cache -c --config -C".split()
)
#: Longer than the endpoint is waited for, so that it is the endpoint's own silence that is told.
_REQUEST_SECONDS = 1200
_LAST_LINES = 15
#: The last line of a traceback.
_RAISED = re.compile(r"[\w.]*(Error|Exception|NotFound|Invalid)\w*: ")


@dataclass(frozen=True, slots=True)
class Harness:
    """How lm_eval is run for one of --tasks.

    Attributes:
        name: as given: lm-eval:TASK, lm-eval:TASK:METRIC or lm-eval:TASK:METRIC:FILTER. The task is one of lm_eval's
            tasks or groups, or a task's YAML file.
        limit: the first so many problems of it, or of each task of a group; all where None.
        options: further words for lm_eval, such as --num_fewshot 5.
        program: the installed lm_eval; looked for where None.
    """

    name: str
    limit: int | None = None
    options: tuple[str, ...] = ()
    program: Path | None = None

    def __post_init__(self) -> None:
        """Raises BenchmarkError for a name that names no task, and for options that are decided here."""
        if not self.task:
            raise BenchmarkError(f"--tasks {self.name}: name a task, as in {PREFIX}gsm8k")
        for word in self.options:
            if option := _ours(word):
                raise BenchmarkError(
                    f"--lm-eval-options: {option} is decided by motet bench; leave {word} out"
                )

    @property
    def task(self) -> str:
        """What lm_eval calls it."""
        return self._parts[0]

    @property
    def choice(self) -> Choice:
        """By which of its metrics and filters it is graded; the first ones where the name says none."""
        return Choice(*self._parts[1:])

    @property
    def _parts(self) -> list[str]:
        parts = self.name.removeprefix(PREFIX).split(":")
        if len(parts) > 3:
            raise BenchmarkError(f"--tasks {self.name}: must be {PREFIX}TASK:METRIC:FILTER")
        return parts

    async def rows(self, answering: Answering, *, concurrency: int) -> list[Row]:
        """All problems, answered and graded.

        Raises BenchmarkError where lm_eval isn't installed or fails, the task can't be asked or graded so, or
        `answering` raises it.
        """
        program = self.program or find()
        with tempfile.TemporaryDirectory(prefix="motet-lm-eval-") as folder:
            async with proxy(answering) as local:
                words = self.words(local.url, Path(folder), concurrency)
                running = asyncio.ensure_future(_run([str(program), *words], self.name, Path(folder)))
                try:
                    await asyncio.wait({running, local.failed}, return_when=asyncio.FIRST_COMPLETED)
                    if local.failed.done():
                        local.failed.result()
                    await running
                finally:
                    running.cancel()
                    with suppress(asyncio.CancelledError, BenchmarkError):
                        await running
            return chosen(self.name, read(self.name, Path(folder)), self.choice)

    def words(self, url: str, folder: Path, concurrency: int) -> list[str]:
        """The arguments of lm_eval; what they name as a model is the proxy, which knows the strategy's own."""
        client = {
            "base_url": url,
            "model": "motet",
            "num_concurrent": concurrency,
            "max_retries": 1,
            "timeout": _REQUEST_SECONDS,
        }
        return [
            *("--model", "local-chat-completions"),
            *("--model_args", ",".join(f"{name}={value}" for name, value in client.items())),
            *("--tasks", self.task),
            "--apply_chat_template",
            "--log_samples",
            *("--output_path", str(folder)),
            *(() if self.limit is None else ("--limit", str(self.limit))),
            *self.options,
        ]


def find(which: Callable[[str], str | None] = shutil.which) -> Path:
    """The installed lm_eval, of this environment or on the PATH. Raises BenchmarkError where there is none."""
    beside = Path(sys.executable).with_name("lm_eval")
    if beside.exists():
        return beside
    found = which("lm_eval")
    if found is None:
        raise BenchmarkError(f"--tasks {PREFIX}...: lm_eval isn't installed; {INSTALL}")
    return Path(found)


def _ours(word: str) -> str | None:
    """Which of the options that are decided here a word of the command line is, if any."""
    if not word.startswith("--"):
        return word[:2] if word[:2] in _OURS else None
    # lm_eval takes the beginning of an option's name for the whole.
    begun = word.partition("=")[0]
    return next((option for option in sorted(_OURS) if begun != "--" and option.startswith(begun)), None)


async def _run(command: Sequence[str], name: str, folder: Path) -> None:
    """Raises BenchmarkError with the end of what it said unless it ends well. Its whole group ends with this."""
    here = ",".join(filter(None, (os.environ.get("no_proxy") or os.environ.get("NO_PROXY"), "127.0.0.1")))
    # Endpoints' keys are the proxy's to send. And the proxy is spoken to directly.
    env = {key: value for key, value in os.environ.items() if not key.startswith(KEY_VARIABLE)}
    log = folder / "lm_eval.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            env={**env, "NO_PROXY": here, "no_proxy": here},
            start_new_session=True,
        )
    try:
        code = await process.wait()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    if code:
        raise BenchmarkError(f"{name}: {_told(code, log.read_text(encoding='utf-8', errors='replace'))}")


def _told(code: int, log: str) -> str:
    """Why lm_eval has failed, as far as its words tell."""
    lines = log.strip().splitlines() or ["(it said nothing)"]
    if _RAISED.match(lines[-1]) is None:
        shown = "\n".join(f"  {line}" for line in lines[-_LAST_LINES:])
        return f"lm_eval ended with exit code {code}:\n{shown}"
    if "oglikelihood" in lines[-1]:
        return "compares likelihoods of given answers, which chat endpoints don't tell; choose one that generates text"
    return f"lm_eval says {lines[-1]}"
