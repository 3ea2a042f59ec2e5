"""How PPO's runs went, round by round: read off their metrics, drawn, and kept as numbers."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motet_benchmarks.files import replace
from motet_benchmarks.statistics import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STEM = "ppo-curves"


@dataclass(frozen=True, slots=True)
class Curve:
    """One run, as its metrics.jsonl tells it."""

    iterations: tuple[int, ...]
    """From 1; the answers of each are those of the policy before its steps."""
    reward: tuple[float, ...]
    """What the answers of an iteration were judged, on average."""
    kl: tuple[float, ...]
    """Nats an answer."""
    entropy: tuple[float, ...]
    """Nats a token."""
    length: tuple[float, ...]
    """Tokens an answer."""
    evaluated: tuple[int, ...]
    """After how many iterations held-out prompts were answered."""
    held_out_reward: tuple[Interval, ...]
    """What those answers were judged."""
    held_out_right: tuple[Interval, ...]
    """The share of them that is right."""

    def kl_after(self, iteration: int) -> float:
        """Nats an answer of the policy after so many iterations; of the last answers drawn where it drew none."""
        later = [kl for number, kl in zip(self.iterations, self.kl, strict=True) if number > iteration]
        return later[0] if later else self.kl[-1]

    def kl_at_the_end(self) -> float:
        """Mean nats an answer of the last tenth of the iterations, at least one."""
        last = self.kl[-max(1, len(self.kl) // 10) :]
        return sum(last) / len(last)


def read(metrics: Path) -> Curve:
    """From a run's metrics.jsonl. Raises ValueError naming the file and what is missing in it."""
    lines = [json.loads(line) for line in metrics.read_text("utf-8").splitlines() if line]
    rounds = [line for line in lines if "kl" in line]
    evaluations = [line for line in lines if "eval_gold" in line]
    if not rounds or not evaluations:
        raise ValueError(f"{metrics}: no {'evaluations' if rounds else 'iterations'} in it")
    try:
        return Curve(
            iterations=tuple(line["iteration"] for line in rounds),
            **{name: tuple(line[name] for line in rounds) for name in ("reward", "kl", "entropy", "length")},
            evaluated=tuple(line["iteration"] for line in evaluations),
            held_out_reward=tuple(_interval(line, "eval_reward") for line in evaluations),
            held_out_right=tuple(_interval(line, "eval_gold") for line in evaluations),
        )
    except KeyError as problem:
        raise ValueError(f"{metrics}: a line without {problem}") from None


def _interval(line: Mapping[str, Any], name: str) -> Interval:
    return Interval(line[name], line[f"{name}_low"], line[f"{name}_high"])


def write(folder: Path, curves: Mapping[str, Mapping[int, Curve]], kl_target: float) -> list[Path]:
    """Write the curves, by what the runs were rewarded by and by seed, into `folder` as JSON and as PNG."""
    facts = {
        "kl_target": kl_target,
        "runs": [
            {"rewarded_by": judge, "seed": seed, **asdict(curve)}
            for judge, runs in curves.items()
            for seed, curve in runs.items()
        ],
    }
    numbers, picture = folder / f"{STEM}.json", folder / f"{STEM}.png"
    replace(numbers, json.dumps(facts, indent=1, allow_nan=False) + "\n")
    drawn = io.BytesIO()
    plot(curves, kl_target).savefig(
        drawn, format="png", dpi=120, bbox_inches="tight", metadata={"Software": "motet models"}
    )
    beside = picture.with_name(f".{picture.name}.new")
    beside.write_bytes(drawn.getvalue())
    os.replace(beside, picture)
    return [numbers, picture]


def plot(curves: Mapping[str, Mapping[int, Curve]], kl_target: float) -> Figure:
    """A row for each judge: held-out accuracy, held-out reward, KL, length; a line for each seed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(17, 4 * len(curves)), layout="constrained")
    rows = figure.subplots(len(curves), 4, squeeze=False, sharex=True)
    for (judge, runs), (right, reward, kl, length) in zip(curves.items(), rows, strict=True):
        for place, (seed, curve) in enumerate(runs.items()):
            colour, label = f"C{place}", f"seed {seed}"
            _band(right, curve.evaluated, curve.held_out_right, label, colour)
            _band(reward, curve.evaluated, curve.held_out_reward, label, colour)
            kl.plot(curve.iterations, curve.kl, color=colour, label=label)
            length.plot(curve.iterations, curve.length, color=colour, label=label)
        kl.axhline(kl_target, color="grey", linestyle=":", label=f"target {kl_target:g}")
        for axes, title in (
            (right, "Held-out answers that are right"),
            (reward, "Reward of held-out answers"),
            (kl, "KL from the SFT adapter, nats an answer"),
            (length, "Tokens an answer"),
        ):
            axes.set_title(title)
            axes.set_xlabel("iterations")
            axes.legend()
        right.set_ylabel(f"rewarded by {judge}")
    return figure


def _band(axes: Axes, places: Sequence[int], figures: Sequence[Interval], label: str, colour: str) -> None:
    axes.plot(places, [figure.value for figure in figures], marker=".", color=colour, label=label)
    axes.fill_between(
        places,
        [figure.low for figure in figures],
        [figure.high for figure in figures],
        color=colour,
        alpha=0.15,
        linewidth=0,
    )
