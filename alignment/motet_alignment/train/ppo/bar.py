"""The progress bar of a PPO run."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

from motet_alignment.train.record import seconds_text

# How each figure is called and written, the ones that a narrow terminal must do without last.
_FIGURES = (
    ("reward", "reward {:.3f}"),
    ("kl", "KL {:.2f}"),
    ("entropy", "entropy {:.2f}"),
    ("clip_fraction", "clipped {:.0%}"),
    ("length", "length {:.0f}"),
    ("rollout_tokens_per_second", "{:,.0f} tokens/s"),
    ("answers_per_second", "{:,.1f} answers/s"),
)
# The time left is told from so many iterations: a run's answers grow longer or shorter.
_RECENT = 10
# A terminal of fewer columns is told iterations and time alone.
_WIDE = 60


class Phase:
    """One thing that is done in an iteration: how far it is, and how long it took."""

    def __init__(self, total: int | None, began: float) -> None:
        self.total, self.done, self._began = total, 0, began
        #: Set when the phase is over.
        self.seconds = 0.0

    def advance(self, count: int = 1) -> None:
        """So many more are done."""
        self.done += count

    def end(self) -> None:
        """Stops the clock."""
        self.seconds = time.monotonic() - self._began

    def text(self, name: str) -> str:
        """As the bar says it."""
        if self.total is None:
            return name
        # What is done in one go stays at nothing until all of it is done.
        return f"{name} {self.done:,} of {self.total:,}" if self.done else f"{name} {self.total:,}"


class Bar(Progress):
    """Iterations done, what is being done now and the time left; below, the last iteration's figures."""

    def __init__(self, title: str, iterations: int, begin: int, console: Console) -> None:
        self._iterations, self._done = iterations, begin
        self._name, self._phase = "", Phase(None, 0.0)
        self._said: list[str] = []
        self._took: deque[float] = deque(maxlen=_RECENT)
        self._since = time.monotonic()
        columns: list[ProgressColumn] = [
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=max(5, min(40, console.width // 4))),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f}"),
            _Told(self.left_text),
        ]
        if console.width >= _WIDE:
            columns.append(_Told(self.now, "magenta"))
        super().__init__(
            *columns,
            console=console,
            disable=not console.is_terminal or console.quiet,
            refresh_per_second=4,
        )
        shortened = Text(title)
        shortened.truncate(max(10, console.width // 4), overflow="ellipsis")
        self._bar = self.add_task(shortened.plain, total=iterations, completed=begin)

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bar's line and the figures'."""
        yield self.make_tasks_table(self.tasks)
        if self._said:
            yield Text(_fitted(self._said, self.console.width), style="cyan", no_wrap=True)

    def begin(self, name: str, phase: Phase | None) -> None:
        """Says what is being done."""
        self._name, self._phase = name, phase or Phase(None, 0.0)

    def iteration(self, number: int, figures: Mapping[str, float]) -> None:
        """Moves on."""
        now = time.monotonic()
        self._took.append(now - self._since)
        self._since, self._done = now, number
        self._said = figures_text(figures)
        self.update(self._bar, completed=number)

    def evaluated(self) -> None:
        """What goes before the first iteration says nothing of how long an iteration takes."""
        if not self._took:
            self._since = time.monotonic()

    def left(self) -> float:
        """Seconds to the end; infinite before the first iteration."""
        if not self._took:
            return math.inf
        each = sum(self._took) / len(self._took)
        whole = self._iterations - self._done
        # An iteration that takes longer than the others says nothing of those to come.
        return each * whole - min(each * min(whole, 1), time.monotonic() - self._since)

    def left_text(self) -> str:
        """The time left as the bar says it; nothing before it is known, and after the last iteration."""
        left = self.left()
        return f"{seconds_text(left)} left" if 0 < left < math.inf else ""

    def now(self) -> str:
        """What is being done."""
        return self._phase.text(self._name)


class _Told(ProgressColumn):
    """What a function says at each look."""

    def __init__(self, told: Callable[[], str], style: str = "") -> None:
        # Never a second line: bars that grow and shrink are hard to read.
        super().__init__(Column(no_wrap=True, overflow="ellipsis"))
        self._told, self._style = told, style

    def render(self, task: Task) -> Text:
        return Text(self._told(), style=self._style)


def figures_text(figures: Mapping[str, float]) -> list[str]:
    """The figures that are told while it runs, those there are of them."""
    shown = [form.format(figures[key]) for key, form in _FIGURES if key in figures]
    return shown[:6]


def _fitted(parts: list[str], width: int) -> str:
    """As many as a line holds."""
    line = parts[0]
    for part in parts[1:]:
        if len(line) + 2 + len(part) > width:
            break
        line += f"  {part}"
    return line
