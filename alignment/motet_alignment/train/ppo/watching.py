"""What is seen of a PPO run while it runs: a bar, lines of metrics, TensorBoard, a plot, and sample answers."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console

from motet_alignment.train.estimates import Estimate
from motet_alignment.train.ppo.bar import Bar, Phase, figures_text
from motet_alignment.train.ppo.plot import draw
from motet_alignment.train.ppo.settings import PpoSettings
from motet_alignment.train.ppo.shown import SampleAnswer, block, spread
from motet_alignment.train.record import Lines, Metrics, seconds_text

__all__ = ["IterationReport", "SampleAnswer", "Watch"]

SAMPLES = "samples.jsonl"
_SAMPLE_EVERY = 5
_KEPT, _PRINTED = 8, 3
# Seconds between two drawings: one takes about one.
_REDRAW = 10


@dataclass(frozen=True)
class IterationReport:
    """What an iteration came to."""

    #: From 1.
    iteration: int
    #: Names as in metrics.jsonl; those that aren't finite are left out there.
    figures: Mapping[str, float]
    #: All its answers, or some of them; the watch picks.
    samples: Sequence[SampleAnswer] = ()


class Watch:
    """Shows and records a run; use it in a `with`, so that the bar goes away and all is written also after an error.

    A process that doesn't lead gives no folder and a quiet console: then nothing is written, and phases are timed.
    """

    def __init__(
        self, folder: Path | None, settings: PpoSettings, begin: int, console: Console, title: str
    ) -> None:
        """Continues after iteration `begin`; what a killed run wrote of later ones is dropped."""
        self._folder, self._settings, self._title, self._console = folder, settings, title, console
        self._bar = Bar(title, settings.iterations, begin, console)
        self._metrics = Metrics(folder, "iteration", begin) if folder else None
        self._samples = Lines(folder / SAMPLES, "iteration", begin) if folder else None
        self._drawn = -math.inf

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def phase(self, name: str, total: int | None = None) -> Iterator[Phase]:
        """Says what is being done, of `total` such as answers where it takes long; counts the seconds."""
        phase = Phase(total, began=time.monotonic())
        self._bar.begin(name, phase)
        try:
            yield phase
        finally:
            phase.end()
            self._bar.begin("", None)

    def iteration(self, report: IterationReport) -> None:
        """Shows and records what an iteration came to."""
        figures = _finite(report.figures)
        self._bar.iteration(report.iteration, figures)
        if self._metrics is not None:
            self._metrics.write({"iteration": report.iteration, **figures})
            self._metrics.scalars(report.iteration, figures)
        if not self._console.is_terminal:
            said = figures_text(figures)
            left = seconds_text(self._bar.left())
            self._say(
                f"{report.iteration:,} of {self._settings.iterations:,}, {', '.join(said)}, {left} left"
            )
        if report.samples and report.iteration % (self._settings.sample_every or _SAMPLE_EVERY) == 0:
            self._show(report.iteration, report.samples)

    def evaluation(self, iteration: int, figures: Mapping[str, Estimate | float]) -> None:
        """Shows and records the figures of held-out answers, and draws the plot anew.

        `figures`: an Evaluation's. Of two evaluations of an iteration, one before and one after a kill, the later
        stands.
        """
        self._bar.evaluated()
        if self._metrics is not None:
            line = {f"eval_{key}": value for key, value in _finite(_flat(figures)).items()}
            self._metrics.drop(lambda old: old["iteration"] == iteration and "eval_reward" in old)
            self._metrics.write({"iteration": iteration, **line})
            self._metrics.scalars(iteration, line)
            if time.monotonic() - self._drawn > _REDRAW:
                self.draw()
        said = [_told(key, value) for key, value in figures.items()]
        self._say(f"held out after iteration {iteration:,}: {', '.join(said)}")

    def draw(self) -> None:
        """curves.svg and curves.png from all lines so far."""
        if self._folder is not None and self._metrics is not None and self._metrics.lines:
            draw(self._metrics.lines, self._folder, self._title, target=self._settings.kl_target)
            self._drawn = time.monotonic()

    def close(self) -> None:
        """Takes the bar away, writes everything out and draws a last time."""
        self._bar.stop()
        if self._metrics is not None:
            self._metrics.close()
            self.draw()

    def _say(self, text: str) -> None:
        whole = not self._console.is_terminal  # a log's lines stay lines
        self._console.print(f"{self._title}: {text}", soft_wrap=whole, markup=False, highlight=False)

    def _show(self, iteration: int, samples: Sequence[SampleAnswer]) -> None:
        if self._metrics is not None and self._samples is not None:
            for sample in spread(samples, _KEPT):
                line = asdict(sample) | _finite({"total": sample.total})
                line["parts"] = _finite(sample.parts)
                self._samples.write({"iteration": iteration, **line})
        shown = block(spread(samples, _PRINTED), min(self._console.width, 100))
        self._say(f"answers of iteration {iteration:,}, of the highest, a middle and the lowest reward")
        self._console.print(shown)
        if self._metrics is not None:
            # Markdown takes what is set in for a program's text, as it stands.
            indented = "\n".join(f"    {row}" for row in shown.plain.split("\n"))
            self._metrics.board.add_text("answers", indented, iteration)


def _told(name: str, value: Estimate | float) -> str:
    if isinstance(value, Estimate):
        return f"{name} {value.value:.3f} ({value.low:.3f} to {value.high:.3f})"
    return {"kl": f"KL {value:.2f}", "ended": f"ended {value:.0%}"}.get(name, f"{name} {value:.0f}")


def _flat(figures: Mapping[str, Estimate | float]) -> dict[str, float]:
    found: dict[str, float] = {}
    for key, value in figures.items():
        if isinstance(value, Estimate):
            found |= {key: value.value, f"{key}_low": value.low, f"{key}_high": value.high}
        else:
            found[key] = value
    return found


def _finite(figures: Mapping[str, Any]) -> dict[str, float]:
    return {key: value for key, value in figures.items() if math.isfinite(value)}
