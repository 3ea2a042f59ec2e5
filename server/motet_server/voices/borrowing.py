"""The adapters of voices, each kept for its request until the last byte of the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from motet_decoding.engine.arguments import AdapterFile
from motet_decoding.errors import RequestError
from motet_server.adapters.errors import AdapterRequestError, FieldAdapterError

if TYPE_CHECKING:
    from motet_server.adapters.entry import Entry
    from motet_server.adapters.leases import Leases
    from motet_server.adapters.service import AdapterService


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

    async def borrow(self, name: str, field: str) -> Entry:
        """The version that ``NAME`` or ``NAME@VERSION`` means now, loaded and kept for the request.

        Raises:
            RequestError: about ``field``: there is none, it writes no text, it can't be served, or there is no room.
        """
        if name in self.models:
            raise RequestError(field, f"{name} is the model itself; null names it without an adapter")
        if self.service is None or self.leases is None:
            raise RequestError(field, f"there is no adapter {name!r:.80}: this server has none")
        shelf = self.service.shelf
        if not shelf.knows(name):
            raise RequestError(field, f"there is no adapter {name!r:.80}; GET /v1/adapters lists them")
        try:
            if shelf.find(name).kind == "reward":
                raise RequestError(field, f"{name} gives rewards and writes no text")
            return await self.leases.borrow(name)
        except AdapterRequestError as error:
            raise FieldAdapterError(field, error) from None

    def file(self, reference: str) -> AdapterFile:
        """What the engine is told of a version that is loaded."""
        assert self.service is not None
        request = self.service.requests[reference]
        return AdapterFile(name=request.lora_name, number=request.lora_int_id, path=request.lora_path)
