"""The best-of benchmark's tables and files."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from motet_benchmarks import results
from motet_benchmarks.best_of import speed
from motet_benchmarks.best_of.cheaper import AIM
from motet_benchmarks.best_of.figures import Point
from motet_benchmarks.best_of.measured import Measured
from motet_benchmarks.best_of.page import STEM, page
from motet_benchmarks.best_of.plan import REWARD, Plan
from motet_benchmarks.best_of.plot import plot
from motet_benchmarks.machine import Circumstances
from motet_benchmarks.results import Grid
from motet_benchmarks.statistics import Difference, Interval

#: Where differences are shown on the page; all of them are in the JSON.
SHOWN = (8, 32)


@dataclass(frozen=True, slots=True)
class Row:
    """One point, as a line of the CSV."""

    group: str
    judge: str
    n: int
    problems: int
    accuracy: float
    low: float
    high: float
    over_one: float
    over_greedy: float
    tokens: float
    reward: float | None


def aims_grid(measured: Measured) -> Grid:
    """What a reader wants to know first."""
    rows = [
        (
            f"{each.kind}: {each.recipe}, against all to their end, by {each.judge}",
            f"{_points(each.difference)} points, {_percent(each.share)}% of the tokens",
            f"same accuracy, <= {AIM:.0%}",
            each.verdict,
        )
        for each in measured.savings
        if each.headline
    ]
    rows += [
        (
            f"one best_of request / {each.over}, {each.clients} clients",
            str(each.ratio),
            f">= {speed.AIM}" if each.verdict else "",
            each.verdict,
        )
        for each in speed.ratios(measured.speed)
    ]
    if measured.loaded is not None:
        lost, requests = len(measured.loaded.lost), sum(measured.loaded.requests.values())
        rows.append(("lost under load", f"{lost} of {requests:,} requests", "0", measured.loaded.verdict))
    return Grid("Best of N: the aims [95% interval]", ("", "measured", "aim", "verdict"), tuple(rows))


def accuracy_grid(kind: str, measured: Measured, plan: Plan) -> Grid:
    """Accuracy by judge and N."""
    found = {(point.judge, point.n): point for point in measured.points if point.group == kind}
    count = next(iter(found.values())).problems
    return Grid(
        f"{kind.capitalize()}: right answers in %, {count} problems [95% interval]; "
        f"greedy {_percent(measured.greedy[kind])}",
        ("judge", *(f"N = {n}" for n in plan.sizes)),
        tuple(
            (judge, *(_percent(found[judge, n].accuracy) for n in plan.sizes))
            for judge in dict.fromkeys(judge for judge, _ in found)
        ),
    )


def gain_grid(kind: str, measured: Measured, plan: Plan) -> Grid:
    """What the best of N gains over one candidate and over the greedy answer."""
    sizes = [n for n in SHOWN if n in plan.sizes]
    found = {(point.judge, point.n): point for point in measured.points if point.group == kind}
    return Grid(
        f"{kind.capitalize()}: points gained, problem by problem [95% interval]",
        (
            "judge",
            *(f"N = {n} over one" for n in sizes),
            *(f"N = {n} over greedy" for n in sizes),
        ),
        tuple(
            (
                judge,
                *(_points(found[judge, n].over_one) for n in sizes),
                *(_points(found[judge, n].over_greedy) for n in sizes),
            )
            for judge in dict.fromkeys(judge for judge, _ in found)
        ),
    )


def cost_grid(measured: Measured, plan: Plan) -> Grid:
    """What N costs, how far it leads away from the policy, and what reward it brings."""
    found = [point for point in measured.points if point.judge == REWARD]
    kinds = list(dict.fromkeys(point.group for point in found))
    at = {(point.group, point.n): point for point in found}
    return Grid(
        "Tokens of a problem, KL bound, and the expected reward of what the reward adapter chooses",
        ("N", "KL at most, nats", *(f"tokens, {k}" for k in kinds), *(f"reward, {k}" for k in kinds)),
        tuple(
            (
                str(n),
                f"{at[kinds[0], n].divergence:.2f}",
                *(f"{at[kind, n].tokens:,.1f}" for kind in kinds),
                *(f"{at[kind, n].reward or 0.0:+.2f}" for kind in kinds),
            )
            for n in plan.sizes
        ),
    )


def saving_grid(measured: Measured, plan: Plan) -> Grid:
    """Every recipe beside full best-of-N."""
    return Grid(
        f"Cheaper than {plan.n} candidates to their end [95% interval]",
        (
            "",
            "judge",
            "recipe",
            "right, %",
            "full, %",
            "difference, points",
            "gains",
            "losses",
            "tokens, %",
            "verdict",
        ),
        tuple(
            (
                each.kind,
                each.judge,
                each.recipe,
                _percent(each.accuracy),
                _percent(each.full),
                _points(each.difference),
                str(each.difference.gains),
                str(each.difference.losses),
                _percent(each.share),
                each.verdict,
            )
            for each in measured.savings
        ),
    )


def pace_grid(measured: Measured, plan: Plan) -> Grid:
    """The arms' own speeds."""
    return Grid(
        f"Best of {plan.candidates} on this machine, for scale",
        ("way", "clients", "prompts/s", "seconds to the best"),
        tuple(
            (arm, str(clients), str(pace), str(wait))
            for arm, clients, pace, wait in speed.paces(measured.speed)
        ),
    )


def load_grid(measured: Measured, plan: Plan) -> list[Grid]:
    """Plain requests' latency."""
    if measured.loaded is None:
        return []
    return [
        Grid(
            f"Plain requests in seconds, beside contrast alone and beside {plan.load} best-of-{plan.candidates} too",
            ("", "without best-of", "with", "ratio"),
            tuple(
                (f"p{each.percent}", str(each.without), str(each.beside), str(each.ratio))
                for each in measured.loaded.latencies
            ),
        )
    ]


def scorer_grid(measured: Measured) -> list[Grid]:
    """How long scorers took."""
    if not measured.scorers:
        return []
    return [
        Grid(
            "Scorers' time while candidates were drawn, waiting for the busy engine included",
            ("scorer", "calls", "milliseconds a call"),
            tuple(
                (kind, f"{spent.calls:,.0f}", f"{1000 * spent.seconds / spent.calls:.1f}")
                for kind, spent in sorted(measured.scorers.items())
            ),
        )
    ]


def write(
    folder: Path, plan: Plan, measured: Measured, where: Circumstances
) -> tuple[list[Grid], list[Path]]:
    """Write best-of.json, .csv, .md and .png into `folder`; returns the tables in them and the paths."""
    kinds = list(dict.fromkeys(point.group for point in measured.points))
    grids = [
        *([aims_grid(measured)] if measured.savings or measured.speed else []),
        *(accuracy_grid(kind, measured, plan) for kind in kinds),
        *(gain_grid(kind, measured, plan) for kind in kinds),
        cost_grid(measured, plan),
        *([saving_grid(measured, plan)] if measured.savings else []),
        *([pace_grid(measured, plan)] if measured.speed else []),
        *load_grid(measured, plan),
        *scorer_grid(measured),
    ]
    paths = results.write(
        folder,
        STEM,
        facts=facts(plan, measured, where),
        samples=[_row(point) for point in (*measured.points, *measured.families)],
        markdown=page(grids, plan, measured, where),
        figure=plot(measured, plan),
    )
    return grids, paths


def facts(plan: Plan, measured: Measured, where: Circumstances) -> dict[str, object]:
    """All figures, as JSON holds them."""
    return {
        "circumstances": asdict(where),
        "plan": asdict(plan),
        "greedy": {kind: asdict(figure) for kind, figure in measured.greedy.items()},
        "agreeing": measured.agreeing,
        "points": [asdict(point) for point in measured.points],
        "families": [
            {
                "group": point.group,
                "judge": point.judge,
                "n": point.n,
                "problems": point.problems,
                "accuracy": asdict(point.accuracy),
            }
            for point in measured.families
        ],
        "cheaper": [{**asdict(each), "verdict": each.verdict} for each in measured.savings],
        "ratios": [{**asdict(each), "verdict": each.verdict} for each in speed.ratios(measured.speed)],
        "speed": [asdict(sample) for sample in measured.speed],
        "load": None
        if measured.loaded is None
        else {**asdict(measured.loaded), "verdict": measured.loaded.verdict},
        "scorers": {kind: asdict(each) for kind, each in measured.scorers.items()},
    }


def _row(point: Point) -> Row:
    return Row(
        group=point.group,
        judge=point.judge,
        n=point.n,
        problems=point.problems,
        accuracy=point.accuracy.value,
        low=point.accuracy.low,
        high=point.accuracy.high,
        over_one=point.over_one.value,
        over_greedy=point.over_greedy.value,
        tokens=point.tokens,
        reward=point.reward,
    )


def _percent(figure: Interval) -> str:
    return f"{100 * figure.value:.1f} [{100 * figure.low:.1f}, {100 * figure.high:.1f}]"


def _points(figure: Interval | Difference) -> str:
    return f"{100 * figure.value:+.1f} [{100 * figure.low:+.1f}, {100 * figure.high:+.1f}]"
