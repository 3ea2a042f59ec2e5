"""Who publishes: one version after the other into a store, and what falls out of it behind them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from motet_alignment.errors import AlignmentError
from motet_alignment.store import AdapterStore, BaseFingerprint
from motet_benchmarks.adapters.samples import Swap
from motet_benchmarks.errors import BenchmarkError


class Publisher(Protocol):
    """Publishes versions by their number. Both block."""

    def publish(self, number: int) -> Swap:
        """Makes the name mean this version."""
        ...

    def tidy(self) -> None:
        """Removes the oldest."""
        ...


@dataclass(frozen=True)
class StorePublisher:
    """Into `store`, from a folder for each number.

    Raises BenchmarkError for what the store refuses.
    """

    store: AdapterStore
    name: str
    folders: Sequence[Path]
    base: BaseFingerprint
    base_folder: Path
    keep: int
    clock: Callable[[], float]

    def publish(self, number: int) -> Swap:
        """Publishes and promotes, in one call as a trainer does it."""
        begun = self.clock()
        try:
            adapter = self.store.publish(
                self.folders[number], name=self.name, kind="sft", base=self.base, base_folder=self.base_folder
            )
        except AlignmentError as error:
            raise BenchmarkError(f"publishing version {number}: {error}") from None
        return Swap(number, adapter.reference, begun, self.clock())

    def tidy(self) -> None:
        """All but the newest `keep` versions go."""
        try:
            self.store.prune(self.name, self.keep)
        except AlignmentError as error:
            raise BenchmarkError(f"pruning {self.name}: {error}") from None

    def leave(self) -> None:
        """Removes the name with all its versions, if there are any."""
        try:
            if self.name in self.store.names():
                self.store.remove_all(self.name)
        except AlignmentError as error:
            raise BenchmarkError(f"removing {self.name}: {error}") from None
