"""Cases are made ready, checked, measured round by round, and written."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.kernels import report
from motet_benchmarks.kernels.cases import FEWEST, Case, Plan, choose
from motet_benchmarks.kernels.clock import Clock, CpuClock, CudaClock, Timer, first_line
from motet_benchmarks.kernels.contests import EAGER, MOTET, Contest, Rivals, contest, find_rivals
from motet_benchmarks.kernels.device import CPU, CUDA, find_device
from motet_benchmarks.kernels.samples import Absence, Line, Measured, line
from motet_benchmarks.machine import Circumstances
from motet_benchmarks.progress import Steps, waiting
from motet_benchmarks.results import Grid, check_folder, show

#: No compiler, no memory, no kernel for this GPU, another version than the one that was looked at: the report says so.
RIVAL_ERRORS = (RuntimeError, ValueError, TypeError, AttributeError, ImportError, OSError)


def measure(
    plan: Plan,
    *,
    where: Circumstances,
    out: Path,
    tell: Callable[[list[Grid], list[Path]], None] = show,
) -> None:
    """Measure, and write the files after every job; in the end, whatever brings it about, print the tables.

    Args:
        plan: what to measure.
        where: this machine before anything was started.
        out: the folder for the files.
        tell: prints the tables, and where the files are.

    Raises BenchmarkError for whatever the user can mend, and for a result of ours that eager PyTorch disagrees with.
    """
    device = find_device(plan.device)
    check_folder(out)
    cases, left_out = choose(plan, device.kind)
    with waiting("looking for rivals"):
        found = find_rivals(device.kind, (device.kind == CUDA) if plan.compiled is None else plan.compiled)
    clock: Clock = CpuClock() if device.kind == CPU else CudaClock()
    measured = Measured((), (), left_out, clock.copy_bandwidth())
    written: list[tuple[list[Grid], list[Path]]] = []
    try:
        with Steps("measuring kernels", len(cases)) as steps:
            for place, case in enumerate(cases):
                steps.next(str(case))
                measured = _add(measured, case, plan, found, clock)
                if place + 1 == len(cases) or cases[place + 1].job != case.job:
                    written[:] = [report.write(out, plan, device, measured, where)]
    finally:
        for tables, paths in written:
            tell(tables, paths)


def _add(measured: Measured, case: Case, plan: Plan, found: Rivals, clock: Clock) -> Measured:
    """With one case more."""
    ready = contest(case, found, plan.seed)
    absences = [Absence(case, name, "", reason) for name, reason in ready.absent.items()]
    timers: dict[tuple[str, str], Timer] = {}
    for name in ready.runs:
        if reason := refusal(name, ready, case):
            absences.append(Absence(case, name, "", reason))
            continue
        by_mode, refused = clock.timers(ready.runs[name], ready.restore, ready.uncapturable.get(name))
        timers |= {(name, mode): timer for mode, timer in by_mode.items()}
        absences += [Absence(case, name, mode, reason) for mode, reason in refused.items()]
    seconds = alternate(timers, plan.rounds, plan.seconds)
    lines = [_line(case, mode, ready, seconds) for name, mode in seconds if name == MOTET]
    return replace(
        measured,
        lines=(*measured.lines, *lines),
        absences=(*measured.absences, *absences),
    )


def _line(case: Case, mode: str, ready: Contest, seconds: Mapping[tuple[str, str], list[float]]) -> Line:
    return line(
        case, mode, ready.least_bytes, {name: each for (name, its), each in seconds.items() if its == mode}
    )


def refusal(name: str, ready: Contest, case: Case) -> str | None:
    """Why a contender is not to be timed, from its first run; None if it may. Ours and eager PyTorch always must.

    Raises BenchmarkError for a wrong result of ours.
    """
    ready.restore()
    try:
        reason = ready.fault(ready.runs[name]())
    except RIVAL_ERRORS as problem:
        if name in (MOTET, EAGER):
            raise
        reason = f"failed: {first_line(problem)}"
    if reason and name == MOTET:
        raise BenchmarkError(f"{case}: our own result is not eager PyTorch's: {reason}")
    return reason


def alternate(
    timers: Mapping[tuple[str, str], Timer], rounds: int, seconds: float
) -> dict[tuple[str, str], list[float]]:
    """Seconds of every timer, in turn forwards and backwards: ``rounds`` times, or as often as time allows.

    Args:
        timers: what to call, once a round each.
        rounds: the most there will be.
        seconds: no round is begun after this long, but for the first ``FEWEST``.
    """
    spent: dict[tuple[str, str], list[float]] = {key: [] for key in timers}
    end = time.monotonic() + seconds
    for number in range(rounds):
        if number >= FEWEST and time.monotonic() > end:
            break
        for key in reversed(list(timers)) if number % 2 else list(timers):
            spent[key].append(timers[key]())
    return spent
