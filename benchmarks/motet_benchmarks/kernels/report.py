"""The kernel benchmark's tables, page, plot and files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from motet_benchmarks import results
from motet_benchmarks.kernels import inputs
from motet_benchmarks.kernels.cases import CONTROLS, EVERYTHING, JOBS, Plan
from motet_benchmarks.kernels.contests import CONTENDERS, MOTET
from motet_benchmarks.kernels.device import CPU, Device
from motet_benchmarks.kernels.plot import plot
from motet_benchmarks.kernels.samples import Absence, Line, Measured, Spread, entries
from motet_benchmarks.machine import Circumstances
from motet_benchmarks.results import Grid


def grids(measured: Measured) -> list[Grid]:
    """A table for every job and way of calling."""
    ways = dict.fromkeys((line.case.job, line.mode) for line in measured.lines)
    return [
        _grid(
            job,
            mode,
            [line for line in measured.lines if (line.case.job, line.mode) == (job, mode)],
            measured,
        )
        for job, mode in ways
    ]


def _grid(job: str, mode: str, lines: Sequence[Line], measured: Measured) -> Grid:
    rivals = [name for name in CONTENDERS if any(name in line.ratios for line in lines)]
    return Grid(
        f"{job}, {mode}: our time, and the others' as multiples of it [quartiles]",
        (
            "case", "logits", "batch", "vocabulary", "least bytes", "motet", "GB/s", "of copy",
            *rivals,
        ),
        tuple(
            (
                line.case.variant,
                f"{line.case.mood} {line.case.dtype}",
                str(line.case.batch),
                f"{line.case.vocab:,}",
                megabytes(line.least_bytes),
                milliseconds(line.seconds[MOTET]),
                f"{line.bandwidth / 1e9:,.2f}",
                f"{100 * line.bandwidth / measured.copy_bandwidth:.0f}%",
                *(times(line.ratios.get(name)) for name in rivals),
            )
            for line in lines
        ),
    )  # fmt: skip


def megabytes(count: int) -> str:
    """Of 10^6 bytes, three digits."""
    return f"{count / 1e6:.3g} MB"


def milliseconds(spent: Spread) -> str:
    """Median and quartiles."""
    return f"{1e3 * spent.value:.3g} ms [{1e3 * spent.low:.3g}, {1e3 * spent.high:.3g}]"


def times(ratio: Spread | None) -> str:
    """Median and quartiles of a ratio; a dash for none."""
    return "–" if ratio is None else f"{ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"


def reasons(absences: Sequence[Absence]) -> list[str]:
    """Every contender that was not run somewhere: who, in which job, why, and in how many cases if not in all."""
    counted: dict[tuple[str, str, str, str], int] = {}
    for absence in absences:
        key = absence.contender, absence.mode, absence.case.job, absence.reason
        counted[key] = counted.get(key, 0) + 1
    return [
        f"{contender} in {job}{f' {mode}' if mode else ''}: {reason} ({count} cases)"
        for (contender, mode, job, reason), count in sorted(
            counted.items(), key=lambda item: (CONTENDERS.index(item[0][0]), JOBS.index(item[0][2]), item[0])
        )
    ]


def write(
    folder: Path, plan: Plan, device: Device, measured: Measured, where: Circumstances
) -> tuple[list[Grid], list[Path]]:
    """Write kernels-DEVICE.json, .csv, .md and .png into ``folder``; returns the tables in them and the paths."""
    tables = grids(measured)
    facts = {
        "circumstances": asdict(where),
        "device": asdict(device),
        "plan": asdict(plan),
        "copy_bytes_per_second": measured.copy_bandwidth,
        "left_out": measured.left_out,
        "lines": [{**asdict(line), "bytes_per_second": line.bandwidth} for line in measured.lines],
        "not_run": [asdict(absence) for absence in measured.absences],
    }
    paths = results.write(
        folder,
        device.stem,
        facts=facts,
        samples=entries(measured.lines),
        markdown=page(tables, plan, device, measured, where),
        figure=plot(measured.lines),
    )
    return tables, paths


def page(tables: Sequence[Grid], plan: Plan, device: Device, measured: Measured, where: Circumstances) -> str:
    """The Markdown page: how it was measured, then the tables, then who was not run and why."""
    cache = (
        "Small inputs are in the cache, which is faster"
        if device.kind == CPU
        else "Caches are flushed before a call"
    )
    parts = [
        "# Kernels",
        f"{device.sentence()} `{where.command}` on {where.sentence()}.",
        "Every contender does the same work on the same input in every round, in alternating order: up to "
        f"{plan.rounds} rounds a case, fewer where they are slow. Medians, quartiles in brackets; a ratio above 1 is a "
        "rival that takes longer. Before it is timed, every contender's result is compared with eager PyTorch's.",
        f"Least bytes is what any implementation must move; a copy of a large tensor moves "
        f'{measured.copy_bandwidth / 1e9:,.1f} GB/s here, and "of copy" is our share of that. {cache}; from hidden '
        "states the product counts, not memory.",
        "Peaky logits give each row a few plausible tokens before a long tail, flat ones make every token plausible. "
        f"Contrast of strength {inputs.STRENGTH:g} and plausibility {inputs.PLAUSIBILITY:g}; {_controls()}; penalties "
        f"for {inputs.PROMPT} tokens of a prompt and {inputs.ANSWER} of an answer; {inputs.HIDDEN} hidden dimensions.",
        "Motet and eager give the token and its log-probability, the samplers of vLLM and FlashInfer the token alone, "
        "after our contrast in rows that ask for one. Motet, eager and vLLM V2 are handed penalties as counts by "
        "token, vLLM V1 the answers as lists. Motet and vLLM V2 draw by each request's own seed, the others from one "
        "generator for the batch. The time to compile is not counted.",
    ]
    if measured.left_out:
        parts.append(
            f"{measured.left_out} of {measured.left_out + len({line.case for line in measured.lines})} cases were left "
            "out: `motet bench kernels --all` measures every one."
        )
    for table in tables:
        parts += [f"## {table.title}", table.markdown()]
    parts += ["## Not run", "\n".join(f"- {reason}" for reason in reasons(measured.absences))]
    parts.append(f"![times of the rivals over ours]({device.stem}.png)")
    return "\n\n".join(parts)


def _controls() -> str:
    every = CONTROLS[EVERYTHING]
    return (
        f"temperature {every.temperature:g}, top-k {every.top_k}, top-p {every.top_p:g}, min-p {every.min_p:g}, where "
        "they are named"
    )
