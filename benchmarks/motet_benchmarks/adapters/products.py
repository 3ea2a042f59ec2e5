"""What LoRA itself costs on a CPU: the adapters' products of one layer, ours against vLLM's and the layer's own."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from motet_benchmarks.adapters import vllm_private
from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.statistics import Interval, median, ratio

if TYPE_CHECKING:
    import torch

#: By hidden size, the widths of a query-key-value layer: the bundled expert's, and those of a model of 1 to 2 billion.
WIDTHS = {256: (256, 256, 256), 2048: (2048, 512, 512)}
ROWS = (1, 8, 64, 512)
ADAPTERS = (1, 4)
RANK = 16
#: From so many rows on, a step reads prompts: so many rows of a request stand together. In smaller ones each row is
#: another request's next token, and neighbours have different adapters.
PROMPTS_FROM, PROMPT = 512, 16

#: Contenders: ours, vLLM's own class, and the product of the layer that both come on top of.
MOTET, VLLM, LAYER = "motet", "vLLM", "the layer itself"
ROUNDS, FEWEST = 40, 7
#: No round of a case is begun after so many seconds, but for the fewest.
SECONDS = 1.5


@dataclass(frozen=True, slots=True)
class Case:
    """One step of one layer. Every row has an adapter: without one, vLLM's own class is wrong."""

    hidden: int
    rows: int
    adapters: int

    def __str__(self) -> str:
        return f"hidden {self.hidden}, {self.rows} rows, {self.adapters} adapters"


@dataclass(frozen=True, slots=True)
class Line:
    """A case's times, in seconds and as ratios to ours."""

    case: Case
    rounds: int
    motet: Interval
    vllm: Interval
    layer: Interval
    vllm_over_motet: Interval
    motet_over_layer: Interval


def cases() -> list[Case]:
    """All of them; no step has more adapters than rows."""
    return [
        Case(hidden, rows, adapters)
        for hidden in WIDTHS
        for rows in ROWS
        for adapters in ADAPTERS
        if adapters <= rows
    ]


def measure(step: Callable[[str], None], *, seed: int, chosen: Sequence[Case] | None = None) -> list[Line]:
    """Every case on one thread, the contenders in turn.

    On more, these small products would be timed by how soon a busy machine lets threads meet. Raises BenchmarkError if
    one computes another result than a plain loop.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        lines = []
        for case in cases() if chosen is None else chosen:
            step(str(case))
            lines.append(_measure(case, seed))
        return lines
    finally:
        torch.set_num_threads(threads)


def _measure(case: Case, seed: int) -> Line:
    runs = _contenders(case, seed)
    spent: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    end = time.monotonic() + SECONDS
    for number in range(ROUNDS):
        if number >= FEWEST and time.monotonic() > end:
            break
        for name in runs if number % 2 else reversed(runs):
            begun = time.perf_counter()
            runs[name]()
            spent[name].append(time.perf_counter() - begun)
    return Line(
        case,
        len(spent[MOTET]),
        median(spent[MOTET], seed=seed),
        median(spent[VLLM], seed=seed),
        median(spent[LAYER], seed=seed),
        ratio(spent[VLLM], spent[MOTET], seed=seed),
        ratio(spent[MOTET], spent[LAYER], seed=seed),
    )


def _contenders(case: Case, seed: int) -> dict[str, Callable[[], Any]]:
    import torch

    from motet_decoding.engine.cpu_lora import GroupedLora

    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    widths = WIDTHS[case.hidden]
    together = PROMPT if case.rows >= PROMPTS_FROM else 1
    places = [row // together % case.adapters for row in range(case.rows)]
    x, y, weight = (
        normal(case.rows, case.hidden),
        normal(case.rows, sum(widths)),
        normal(sum(widths), case.hidden),
    )
    a = tuple(normal(case.adapters, 1, RANK, case.hidden) for _ in widths)
    b = tuple(normal(case.adapters, 1, width, RANK) for width in widths)
    ours, theirs = (vllm_private.ready(kind, places) for kind in (GroupedLora, vllm_private.punica()))

    plain = torch.cat(
        [
            torch.stack(
                [second[place, 0] @ (first[place, 0] @ row) for row, place in zip(x, places, strict=True)]
            )
            for first, second in zip(a, b, strict=True)
        ],
        dim=1,
    )
    for name, wrapper in ((MOTET, ours), (VLLM, theirs)):
        result = torch.zeros_like(y)
        vllm_private.add(wrapper, result, x, a, b)
        if not torch.allclose(result, plain, rtol=1e-4, atol=1e-3 * float(plain.std())):
            raise BenchmarkError(f"{case}: the result of {name} is not that of a plain loop over the rows")
    return {
        MOTET: lambda: vllm_private.add(ours, y, x, a, b),
        VLLM: lambda: vllm_private.add(theirs, y, x, a, b),
        LAYER: lambda: torch.nn.functional.linear(x, weight),
    }
