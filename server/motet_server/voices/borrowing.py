"""The adapters of voices, each kept for its request until the last byte of the answer."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from motet_decoding.contrast import Contrast
from motet_decoding.engine.arguments import AdapterFile
from motet_decoding.errors import RequestError
from motet_decoding.voices import SequenceVoice
from motet_server.adapters.entry import Entry, State
from motet_server.adapters.errors import AdapterRequestError, FieldAdapterError
from motet_server.voices.checking import FIELD, places

if TYPE_CHECKING:
    from motet_server.adapters.leases import Leases
    from motet_server.adapters.service import AdapterService


@dataclass(frozen=True, slots=True)
class Borrowed:
    """What is kept loaded for one request.

    Attributes:
        answers: the version that answers; None for the model itself.
        voices: those that voices name, by how they name them.
    """

    answers: Entry | None
    voices: Mapping[str, Entry]


@dataclass(frozen=True, slots=True)
class Lender:
    """Where one request finds adapters.

    Attributes:
        service: the server's; None on one without adapters.
        leases: the request's.
        models: the names of the model itself.
    """

    service: AdapterService | None
    leases: Leases | None
    models: tuple[str, ...]

    async def take(self, contrast: Contrast | None, model: str | None, slots: int) -> Borrowed:
        """Loads the adapters of an answer and of its voices, all of them or none, and keeps them for the request.

        Args:
            contrast: the request's.
            model: the adapter that answers, ``NAME`` or ``NAME@VERSION``; None for the model itself.
            slots: how many adapters may speak in one step of the engine.

        Raises:
            RequestError: naming the voice whose adapter isn't there, writes no text or can't be served, or the
                contrast, where they can't all be there together.
        """
        fields = {} if contrast is None else _named(contrast)
        found = [self._find(name, field) for name, field in fields.items()]
        if model is not None:
            assert self.leases is not None
            found.append(self.leases.shelf.find(model))
        if fields:
            self._check_together({entry.reference for entry in found}, slots)
        if not found:
            return Borrowed(None, {})
        assert self.leases is not None
        shelf = self.leases.shelf
        # Who holds one and waits for another must not meet another such; what is loaded is waited for by nobody.
        loaded = all(entry.state is State.LOADED for entry in found)
        async with nullcontext() if len(found) == 1 or loaded else shelf.several(found[0].reference):
            answers = None if model is None else await self.leases.take(model)
            return Borrowed(
                answers, {name: await self._borrow(name, field) for name, field in fields.items()}
            )

    def _check_together(self, references: Collection[str], slots: int) -> None:
        assert self.leases is not None
        most = self.leases.shelf.most
        for room, option, what in (
            (slots, "--adapter-slots", "speak in one step, and the engine's hold"),
            (most, "--max-adapters", "be loaded together, and the engine holds"),
        ):
            if len(references) > room:
                raise RequestError(
                    FIELD,
                    f"{len(references)} adapters must {what} {room}; name fewer, or start the server with more "
                    f"{option}",
                )

    def _find(self, name: str, field: str) -> Entry:
        if name in self.models:
            raise RequestError(field, f"{name} is the model itself; null names it without an adapter")
        if self.service is None or self.leases is None:
            raise RequestError(field, f"there is no adapter {name!r:.80}: this server has none")
        shelf = self.service.shelf
        if not shelf.knows(name):
            raise RequestError(field, f"there is no adapter {name!r:.80}; GET /v1/adapters lists them")
        try:
            entry = shelf.find(name)
        except AdapterRequestError as error:
            raise FieldAdapterError(field, error) from None
        if entry.kind == "reward":
            raise RequestError(field, f"{name} gives rewards and writes no text")
        return entry

    async def _borrow(self, name: str, field: str) -> Entry:
        assert self.leases is not None
        try:
            return await self.leases.borrow(name)
        except AdapterRequestError as error:
            raise FieldAdapterError(field, error) from None

    def file(self, reference: str) -> AdapterFile:
        """What the engine is told of a version that is loaded."""
        assert self.service is not None
        request = self.service.requests[reference]
        return AdapterFile(name=request.lora_name, number=request.lora_int_id, path=request.lora_path)


def _named(contrast: Contrast) -> dict[str, str]:
    """The adapters that voices name, and where."""
    named: dict[str, str] = {}
    for place, weighted in places(contrast):
        voice = weighted.voice
        if isinstance(voice, SequenceVoice) and voice.adapter is not None and not voice.own_adapter:
            named.setdefault(voice.adapter, f"{place}.adapter")
    return named
