"""Everything of adapters in one process that answers HTTP: the shelf, the engine's side of it, and its keeper."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from motet_alignment.store import Adapter, AdapterStore, check
from motet_server import metrics, rendering_private, vllm_private
from motet_server.adapters.copies import Copies
from motet_server.adapters.engine import VllmEngine
from motet_server.adapters.entry import Entry
from motet_server.adapters.keeper import Keeper
from motet_server.adapters.launch import places_of
from motet_server.adapters.leases import chat_template
from motet_server.adapters.scan import unfit
from motet_server.adapters.settings import AdapterSettings
from motet_server.adapters.shelf import Shelf


class AdapterService:
    """What the routes of adapters, and all routes that name one, work with.

    Args:
        settings: the server's.
        client: vLLM's engine client.
        state: the app's, as vLLM has made it.
        others: names of what else answers requests.
    """

    def __init__(
        self, settings: AdapterSettings, client: Any, state: Any, others: Collection[str] = ()
    ) -> None:
        self.settings = settings
        self.client = client
        self.state = state
        self.store = AdapterStore(settings.store)
        #: How many adapters are being uploaded; together they may fill the disk.
        self.uploads = 0
        #: Names that are taken: those of the model and of the reward models beside it.
        self.models: Collection[str] = (*vllm_private.served_names(state), *others)
        self.requests = vllm_private.loaded_adapters(state)
        self.engine = VllmEngine(client, self.requests, Copies(settings.folder), self._check)
        self.shelf = Shelf(
            self.engine,
            most=settings.most,
            pins=settings.pins,
            loaded=_loaded,
            moved=lambda _: metrics.count_swap(),
        )
        self.keeper = Keeper(self.shelf, self.engine, places_of(settings), self._unfit)

    async def start(self) -> None:
        """Loads what is published and follows what will be; the engine must answer by now."""
        rendering_private.bring_templates(self.state, chat_template.get)
        await self.keeper.start()

    def cards(self) -> list[tuple[str, str | None, bool]]:
        """For the list of models: each name that answers, its version, and whether it writes text."""
        entries = [(name, self.shelf.current_entry(name)) for name in self.shelf.names()]
        return [
            (name, entry.reference, entry.kind != "reward")
            for name, entry in entries
            if entry is not None and entry.reason is None
        ]

    def _check(self, adapter: Adapter) -> None:
        check(adapter, self.settings.base, self.settings.max_rank, base_folder=self.settings.model)

    def _unfit(self, adapter: Adapter) -> str | None:
        settings = self.settings
        return unfit(adapter, settings.base, settings.max_rank, self.models, settings.no_rewards)


def _loaded(entry: Entry) -> None:
    metrics.count_load(entry.load_seconds or 0.0)
