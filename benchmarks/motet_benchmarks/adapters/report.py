"""The adapters benchmark's tables, page and files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from motet_benchmarks import results
from motet_benchmarks.adapters.figures import in_phase
from motet_benchmarks.adapters.outcome import AIM, Outcome
from motet_benchmarks.adapters.page import STEM, page
from motet_benchmarks.adapters.plan import Plan
from motet_benchmarks.adapters.plot import plot
from motet_benchmarks.adapters.products import Line
from motet_benchmarks.adapters.samples import WITH, WITHOUT, Measured
from motet_benchmarks.machine import Circumstances
from motet_benchmarks.results import Grid
from motet_benchmarks.statistics import Interval, median


@dataclass(frozen=True, slots=True)
class Row:
    """One request, as a line of the CSV."""

    asked: str
    model: str
    prompt: int
    arm: str
    """Empty where it crosses from one phase to the next."""
    round: int | None
    sent: float
    first_token_seconds: float | None
    seconds: float
    tokens: int
    version: str | None
    problem: str | None


def verdict_grid(found: Outcome) -> Grid:
    """What a reader wants to know first."""
    rows = [
        ("failed requests", f"{found.failed} of {found.requests:,}", "0", _met(found.failed == 0)),
        ("answers of a wrong version", f"{found.wrong} of {found.requests:,}", "0", _met(found.wrong == 0)),
        (
            "swaps heard",
            f"{len(found.heard)} of {len(found.waits)}",
            "all",
            _met(len(found.heard) == len(found.waits)),
        ),
        *_wait_rows(found),
        (
            "versions that the engine held",
            f"{found.loaded} at most",
            f"<= {found.bound}",
            _met(found.loaded <= found.bound),
        ),
        *_memory_rows(found),
        *(
            (f"{each.name}, with swaps / without", str(each.ratio), "", each.doubt)
            for each in found.latencies
            if each.name.startswith("p99")
        ),
    ]
    return Grid("Adapters: swaps under load [95% interval]", ("", "measured", "aim", "verdict"), tuple(rows))


def _wait_rows(found: Outcome) -> list[tuple[str, str, str, str]]:
    waits = sorted(wait.from_published for wait in found.waits if wait.from_published is not None)
    if not waits:
        return []
    late = sum(wait >= AIM for wait in waits)
    p99 = waits[min(len(waits) - 1, int(0.99 * len(waits)))]
    return [
        (
            "published to the first token, seconds",
            f"{_seconds(median(waits))}, p99 {p99:.2f}, longest {waits[-1]:.2f}",
            f"< {AIM:g}",
            _met(late == 0) if late in (0, len(waits)) else f"missed by {late} of {len(waits)}",
        )
    ]


def _memory_rows(found: Outcome) -> list[tuple[str, str, str, str]]:
    if found.growth is None:
        return [("memory a swap", "not seen, or too few swaps to tell", "no growth", "")]
    return [("memory a swap", found.growth.figure, "no growth", found.growth.verdict)]


def _met(right: bool) -> str:
    return "met" if right else "missed"


def latency_grid(found: Outcome) -> Grid:
    """Both arms beside each other."""
    return Grid(
        "Latency of the clients' requests in seconds [95% interval]",
        ("", WITHOUT, WITH, "ratio"),
        tuple(
            (each.name, _seconds(each.without), _seconds(each.with_swaps), str(each.ratio))
            for each in found.latencies
        ),
    )


def product_grid(lines: Sequence[Line]) -> Grid:
    """LoRA's own products."""
    return Grid(
        "LoRA's products of one layer on one thread of this CPU: medians [95% interval]",
        (
            "hidden",
            "rows",
            "adapters",
            "motet",
            "vLLM",
            "the layer itself",
            "vLLM / motet",
            "motet / the layer",
        ),
        tuple(
            (
                str(line.case.hidden),
                str(line.case.rows),
                str(line.case.adapters),
                *(f"{1e6 * spent.value:,.0f} us" for spent in (line.motet, line.vllm, line.layer)),
                str(line.vllm_over_motet),
                str(line.motet_over_layer),
            )
            for line in lines
        ),
    )


def write(
    folder: Path, plan: Plan, measured: Measured, found: Outcome, lines: Sequence[Line], where: Circumstances
) -> tuple[list[Grid], list[Path]]:
    """Write adapters.json, .csv, .md and .png into `folder`; returns the tables in them and the paths."""
    grids = [verdict_grid(found), latency_grid(found), *([product_grid(lines)] if lines else [])]
    facts = {
        "circumstances": asdict(where),
        "plan": asdict(plan),
        "passed": found.passed,
        "outcome": asdict(found),
        "products": [asdict(line) for line in lines],
        "swaps": [asdict(swap) for swap in measured.swaps],
        "phases": [asdict(phase) for phase in measured.phases],
        "readings": [asdict(reading) for reading in measured.readings],
    }
    paths = results.write(
        folder,
        STEM,
        facts=facts,
        samples=rows(measured),
        markdown=page(grids, plan, found, where, with_products=bool(lines)),
        figure=plot(measured, found),
    )
    return grids, paths


def rows(measured: Measured) -> list[Row]:
    """Every request, in the order in which they ended."""
    found = []
    for reply in measured.replies:
        phase = in_phase(reply, measured.phases)
        found.append(
            Row(
                reply.asked,
                reply.model,
                reply.prompt,
                phase.arm if phase else "",
                phase.round if phase else None,
                round(reply.sent, 4),
                None if reply.first is None else round(reply.first - reply.sent, 4),
                round(reply.ended - reply.sent, 4),
                len(reply.tokens),
                reply.version,
                reply.problem,
            )
        )
    return found


def _seconds(figure: Interval) -> str:
    return f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]"
