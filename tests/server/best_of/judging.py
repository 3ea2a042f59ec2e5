"""A server's adapters without an engine: a real shelf, and everything else as small as it may be."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from motet_decoding.best_of.candidate import Candidate, Question
from motet_server.adapters.entry import Entry
from motet_server.adapters.shelf import Shelf

CHAT = Question((1, 2, 3), messages=({"role": "user", "content": "How many?"},))
TEXT = Question((1, 2, 3), prompt="One, two, ")


def candidate(index: int, text: str, ended: bool = True) -> Candidate:
    return Candidate(index, text, (10 + index, 20), "stop" if ended else "length")


class Willing:
    """Loads whatever it is told to."""

    async def load(self, entry: Entry) -> None:
        pass

    async def unload(self, entry: Entry) -> None:
        pass


class Service:
    """What is asked of an ``AdapterService``."""

    def __init__(self, *, most: int = 8, patience: float = 3600.0) -> None:
        self.shelf = Shelf(Willing(), most=most, patience=patience)
        self.requests: dict[str, Any] = {}
        self.engine = SimpleNamespace(copies={})

    def stock(
        self,
        name: str,
        kind: str,
        *,
        refused: str | None = None,
        template: str | None = None,
        settings: dict[str, Any] | None = None,
    ) -> Entry:
        adapter = SimpleNamespace(manifest=SimpleNamespace(settings=settings or {}))
        source = SimpleNamespace(adapter=adapter, chat_template=template)
        entry = self.shelf.stock(name, "0123456789ab", kind, source, refused)
        if refused is None:
            self.shelf.introduce(entry)
        self.requests[entry.reference] = f"request of {entry.reference}"
        self.engine.copies[entry.reference] = SimpleNamespace(head_path=f"head of {entry.reference}")
        return entry


def state(*served: str) -> Any:
    paths = [SimpleNamespace(name=name) for name in served or ("base",)]
    return SimpleNamespace(
        openai_serving_models=SimpleNamespace(base_model_paths=paths),
        engine_client=SimpleNamespace(model_config=SimpleNamespace(max_model_len=64)),
    )
