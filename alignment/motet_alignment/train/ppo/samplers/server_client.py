"""What a training says to a motet server: publish, remove, answer. Nothing goes through a file system."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from openai import APIConnectionError, APIStatusError, AsyncOpenAI, NotFoundError, OpenAI, Timeout

from motet_alignment.errors import TrainError
from motet_alignment.store import BaseFingerprint
from motet_alignment.train.ppo.settings import PpoSettings

Result = TypeVar("Result")

#: Files of a policy that a server takes; a chat template if it has its own.
_FILES = ("adapter_config.json", "adapter_model.safetensors", "chat_template.jinja")
#: Tries after the first, half a second apart and then up to 8 s: about a minute, in which a server may start again.
_RETRIES = 10
#: Seconds without an answer, and without a connection.
_TIMEOUT = Timeout(600.0, connect=30.0)
#: The same where a run ends, maybe because the server is gone.
_PARTING = 30.0


class ServerClient:
    """A motet server at `settings.url`. Every failure is a TrainError that names --url."""

    def __init__(self, settings: PpoSettings) -> None:
        """Asks nothing yet."""
        self._address = str(settings.url).rstrip("/")
        self._options: dict[str, Any] = {
            "base_url": f"{self._address}/v1",
            "api_key": settings.api_key or os.environ.get("MOTET_API_KEY") or "none",
            "timeout": _TIMEOUT,
        }
        self._client = OpenAI(max_retries=_RETRIES, **self._options)

    def asynchronous(self) -> AsyncOpenAI:
        """A client for many requests at once; its connections belong to the event loop that it is used in."""
        return AsyncOpenAI(max_retries=_RETRIES, **self._options)

    def look(self) -> None:
        """Sees that a motet server with adapters is there, without waiting for one to come."""
        with self.failures():
            try:
                answer: Any = self._client.with_options(max_retries=1).get("/adapters", cast_to=object)
            except NotFoundError:
                answer = None
        if not isinstance(answer, dict) or "data" not in answer:
            raise self.trouble("it is no motet server: it has no /v1/adapters")

    def publish(self, folder: Path, name: str, base: BaseFingerprint) -> str:
        """Uploads the adapter in `folder` as the current version of `name`, NAME@VERSION; it answers by then."""
        files = [
            ("files", (file, (folder / file).read_bytes())) for file in _FILES if (folder / file).is_file()
        ]
        with self.failures():
            answer: Any = self._client.post(
                "/adapters",
                body={"name": name, "kind": "ppo", "base": base.model_dump_json()},
                files=files,
                options={"headers": {"Content-Type": "multipart/form-data"}},
                cast_to=object,
            )
        reference = answer.get("reference") if isinstance(answer, dict) else None
        if not isinstance(reference, str) or not reference.startswith(f"{name}@"):
            raise self.trouble(f"it published {name} as {reference!r}")
        return reference

    def remove(self, reference: str) -> None:
        """Takes a version out of the server's store, where it is still there."""
        with self.failures(), suppress(NotFoundError):  # somebody may have pruned it
            self._client.delete(f"/adapters/{reference}", cast_to=object)

    def clear(self, name: str) -> None:
        """Takes `name` with all its versions out of the server's store; doesn't wait for a server that is away."""
        client = self._client.with_options(max_retries=1, timeout=_PARTING)
        with self.failures(), suppress(NotFoundError):  # there are none
            answer: Any = client.get(f"/adapters/{name}", cast_to=object)
            if not isinstance(answer, dict) or not isinstance(answer.get("versions"), list):
                raise self.trouble(f"it doesn't tell the versions of {name}")
            there = [version for version in answer["versions"] if not version["removed"]]
            # The current version goes only as the last.
            for version in sorted(there, key=lambda version: bool(version["current"])):
                with suppress(NotFoundError):
                    client.delete(f"/adapters/{version['reference']}", cast_to=object)

    @contextmanager
    def failures(self) -> Iterator[None]:
        """Says what went wrong with the server."""
        try:
            yield
        except APIConnectionError as problem:
            reason = problem.__cause__ or problem
            raise self.trouble(f"no answer ({type(reason).__name__}: {reason})") from problem
        except APIStatusError as problem:
            hint = "; give its key with --api-key or $MOTET_API_KEY" if problem.status_code == 401 else ""
            body = problem.body
            said = body.get("message") if isinstance(body, dict) else None
            raise self.trouble(f"{str(said or problem.message)[:1000]}{hint}") from problem
        except json.JSONDecodeError as problem:
            raise self.trouble(f"its answer is no JSON ({problem})") from problem

    def trouble(self, reason: str) -> TrainError:
        """An error that names the option."""
        return TrainError(f"--url {self._address}: {reason}")

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()


def run_apart(make: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    """What the coroutine returns or raises, which runs in a thread of its own; an interrupt cancels it and is raised.

    Signals interrupt the main thread wherever it is: an event loop there would leave its tasks half done.
    """
    begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = Future()

    async def run() -> Result:
        task = asyncio.current_task()
        assert task is not None
        begun.set_result((asyncio.get_running_loop(), task))
        return await make()

    with ThreadPoolExecutor(1, "motet-server") as pool:
        outcome = pool.submit(lambda: asyncio.run(run()))
        try:
            return outcome.result()
        except BaseException:
            if not outcome.done():
                loop, task = begun.result()
                with suppress(RuntimeError):  # it has ended just now
                    loop.call_soon_threadsafe(task.cancel)
            raise
