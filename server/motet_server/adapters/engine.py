"""The shelf's hand on vLLM's engine: a version is copied, checked, loaded under its own name and number, dropped."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from motet_alignment.errors import StoreError
from motet_alignment.store import Adapter
from motet_server import vllm_private
from motet_server.adapters.copies import Copies
from motet_server.adapters.entry import Entry
from motet_server.adapters.errors import RefusedError

#: Seconds for which the engine mustn't have listed a dropped version before its copy goes: what a client that has left
#: asked for may still be on its way to the engine, which would end for want of the files.
GRACE = 5.0


class Client(Protocol):
    """What is called of vLLM's ``EngineClient``."""

    async def add_lora(self, lora_request: Any) -> bool:
        """Loads an adapter."""
        ...

    async def remove_lora(self, lora_id: int) -> bool:
        """Drops one."""
        ...

    async def list_loras(self) -> set[int]:
        """The numbers of those that are loaded."""
        ...


@dataclass(frozen=True, slots=True)
class Source:
    """What the engine is given of a version.

    Attributes:
        adapter: as it is published.
        bundled: it came with motet and can't be changed.
        chat_template: the text of its own template, if it has one.
    """

    adapter: Adapter
    bundled: bool = False
    chat_template: str | None = None


class VllmEngine:
    """A shelf's ``Engine``.

    Args:
        client: vLLM's.
        requests: vLLM's adapters by the name in a request; a version stands in it while it is loaded.
        copies: this process's.
        check: raises a ``StoreError`` for an adapter that the engine must not see.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        client: Client,
        requests: dict[str, Any],
        copies: Copies,
        check: Callable[[Adapter], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._requests = requests
        self._copies = copies
        self._check = check
        self._clock = clock
        #: Dropped versions of which the engine may still have something: their numbers, and when it was last told.
        self._leaving: dict[str, tuple[int, float]] = {}
        #: What is loaded, where its copy lies, by reference.
        self.copies: dict[str, Adapter] = {}

    async def load(self, entry: Entry) -> None:
        """Copies, checks and loads a version."""
        copy = await asyncio.to_thread(self._checked_copy, entry.source.adapter)
        self._leaving.pop(entry.reference, None)
        request = vllm_private.lora_request(entry.reference, entry.number, copy.engine_path)
        try:
            await self._client.add_lora(request)
        except BaseException as error:
            if self._copies.leave(entry.reference):
                self._left(entry.reference, entry.number)  # it may hold a part of it
            if isinstance(error, Exception) and not vllm_private.engine_is_dead(error):
                raise RefusedError(entry.reference, vllm_private.engine_complaint(error)) from error
            raise
        self._requests[entry.reference] = request
        self.copies[entry.reference] = copy

    async def unload(self, entry: Entry) -> None:
        """Drops a version from the engine, unless another process of the server uses it and will.

        Its copy stays until the engine is seen to have let go. A version that the engine doesn't drop is loaded still.
        """
        request, copy = self._requests.pop(entry.reference), self.copies.pop(entry.reference)
        if await asyncio.to_thread(self._copies.leave, entry.reference):
            self._left(entry.reference, entry.number)
            try:
                await self._client.remove_lora(entry.number)
            except Exception:
                await asyncio.to_thread(self._copy, entry.source.adapter)
                self._leaving.pop(entry.reference, None)
                self._requests[entry.reference], self.copies[entry.reference] = request, copy
                raise

    async def let_go(self) -> None:
        """Removes the copies of dropped versions that the engine hasn't listed for a while.

        A request whose client has left may reach one more step after its version was dropped, and the engine then loads
        the version again; so what is listed is dropped again.
        """
        if not self._leaving:
            return
        listed = await self._client.list_loras()
        for reference, (number, since) in list(self._leaving.items()):
            if self._copies.used(reference):
                self._leaving.pop(reference, None)  # another process has taken it since
            elif number in listed:
                self._left(reference, number)
                await self._client.remove_lora(number)
            elif self._clock() - since >= GRACE and self._leaving.pop(reference, None) is not None:
                await asyncio.to_thread(self._copies.remove, reference)

    def _left(self, reference: str, number: int) -> None:
        self._leaving[reference] = number, self._clock()

    def _copy(self, adapter: Adapter) -> Path:
        return self._copies.take(adapter.reference, adapter.path, adapter.manifest.files)

    def _checked_copy(self, adapter: Adapter) -> Adapter:
        """The copy is what is checked, so nothing can change between the check and the engine's reading."""
        copy = dataclasses.replace(adapter, path=self._copy(adapter))
        try:
            self._check(copy)
        except StoreError as error:
            self._copies.leave(adapter.reference)
            self._copies.remove(adapter.reference)
            raise RefusedError(adapter.reference, str(error)) from None
        return copy
