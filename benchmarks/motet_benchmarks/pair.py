"""The two models that are measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from motet_benchmarks.errors import BenchmarkError

#: The servers, by what they serve: both models, or the expert alone.
PAIR, EXPERT = "pair", "expert"
SERVERS = (PAIR, EXPERT)

BUNDLED_EXPERT = "bundled-expert"


@dataclass(frozen=True, slots=True)
class Pair:
    """An expert and an amateur, folders or hub names; the bundled ones where there is none.

    Raises BenchmarkError where only one is given.
    """

    expert: str | None = None
    amateur: str | None = None

    def __post_init__(self) -> None:
        if (self.expert is None) != (self.amateur is None):
            raise BenchmarkError("--model and --amateur: give both, or neither for the bundled pair")

    def located(self) -> tuple[str, str]:
        """Expert and amateur as a loader takes them. Raises BenchmarkError if the bundled ones are missing."""
        if self.expert is not None and self.amateur is not None:
            return self.expert, self.amateur
        from motet_models import AMATEUR as SMALL
        from motet_models import EXPERT as LARGE

        for folder in (LARGE, SMALL):
            if not (folder / "config.json").is_file():
                raise BenchmarkError("the bundled models are missing: rebuild them with `make models`")
        return str(LARGE), str(SMALL)

    def precision(self) -> str:
        """In what the expert's weights are kept, such as float32. Raises BenchmarkError if that can't be read."""
        from transformers import AutoConfig

        expert, _ = self.located()
        try:
            kept = AutoConfig.from_pretrained(expert).dtype
        except (OSError, ValueError) as problem:
            raise BenchmarkError(f"--model {expert}: {str(problem).strip().splitlines()[0]}") from None
        return str(kept or "float32").removeprefix("torch.")

    def arguments(self, options: Sequence[str] = ()) -> dict[str, list[str]]:
        """What `motet serve` is told for each of the two servers. Raises BenchmarkError as `located` does."""
        expert, amateur = self.located()
        if self.expert is not None:
            return {PAIR: [expert, "--amateur", amateur, *options], EXPERT: [expert, *options]}
        # Alone it would be called by the folder it is installed in, which is nobody else's business.
        return {PAIR: [*options], EXPERT: [expert, "--served-model-name", BUNDLED_EXPERT, *options]}
