"""Plots as SVG that stands inside a page: it takes the page's colours and fonts, and says in words what it shows."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from motet_benchmarks.strategies.report.compact import SVG, compact
from motet_benchmarks.strategies.report.labels import UNPRINTABLE, width

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Drawn with in place of black, and replaced by the page's own colour of text, light or dark.
INK = "#010203"

#: Of middling brightness, so that they are told from white and from black.
COLOURS = ("#3b82c4", "#e08214", "#2a9d6f", "#c4569b", "#8b6fd1", "#d1495b", "#8f9a2e", "#3fa7b5")

#: As many of either as are told apart together with the colours: no two of 40 curves look alike.
DASHES: tuple[str | tuple[float, tuple[float, ...]], ...] = (
    "-",
    "--",
    ":",
    "-.",
    (0, (6, 1.5, 1, 1.5, 1, 1.5)),
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

#: Inches of a plot's width, which on a phone is 317 pixels, and of a line of its legend.
WIDTH, _ROW = 4.0, 0.2

#: Letters are 11 pixels high on a phone.
FONT = 10.0

_STYLE: Mapping[str, object] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "motet",
    "text.parse_math": False,  # a strategy's name may hold any sign
    "font.size": FONT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": INK,
    "grid.alpha": 0.13,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": FONT,
    "legend.handlelength": 2.2,
    "legend.handletextpad": 0.6,
    "legend.columnspacing": 1.0,
    "xtick.labelsize": FONT,
    "ytick.labelsize": FONT,
    "lines.linewidth": 1.6,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plot:
    """One plot of the page."""

    title: str
    caption: str
    label: str
    """The same in words, for whoever can't see it."""
    svg: str


@dataclass(frozen=True, slots=True)
class Look:
    """What a curve looks like: told from others by each of the three."""

    colour: str
    dash: str | tuple[float, tuple[float, ...]]
    marker: str


#: Of the strategy that others are compared with: the text's colour.
FIRST = Look(INK, DASHES[0], MARKERS[0])


def look(place: int) -> Look:
    """The look of one curve among others."""
    return Look(COLOURS[place % len(COLOURS)], DASHES[place % len(DASHES)], MARKERS[place % len(MARKERS)])


@dataclass(slots=True)
class Canvas:
    """A figure being drawn, and what is said of its parts when they are pointed at."""

    figure: Figure
    tips: dict[str, str] = field(default_factory=dict)

    def tip(self, text: str) -> str:
        """An id for an artist (its `gid`) that shows `text`."""
        name = f"tip-{len(self.tips)}"
        self.tips[name] = text
        return name

    def legend(self) -> None:
        """What the curves are, below the plot, which grows by as much as that needs."""
        handles, names = self.figure.axes[0].get_legend_handles_labels()
        if not names:
            return
        widest = FONT * (0.57 * max(map(width, names)) + 4)  # in points, with the line beside it
        columns = max(1, min(len(names), int(72 * self.figure.get_figwidth() // widest)))
        self.figure.set_figheight(self.figure.get_figheight() + _ROW * math.ceil(len(names) / columns))
        self.figure.legend(handles, names, loc="outside lower center", ncols=columns)

    def svg(self, name: str, label: str, described_by: str | None = None) -> str:
        """The element. `name` keeps its ids apart from other plots' on the page; `described_by` is a table's id."""
        return _element(_saved(self.figure), name, label, described_by, self.tips)


@contextmanager
def canvas(height: float = 2.6) -> Iterator[Canvas]:
    """A figure of so many inches, its legend apart; drawn and made SVG inside the block."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    # Glyphs are the browser's, so one that matplotlib's font lacks only makes a label's width a guess.
    with rc_context(_STYLE), warnings.catch_warnings():  # type: ignore[arg-type]
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield Canvas(Figure(figsize=(WIDTH, height), layout="constrained"))


def logarithmic(axes: Axes) -> None:
    """A logarithmic x axis where what is drawn spans enough of one for a few ticks, which are plain numbers."""
    from matplotlib.ticker import LogLocator, StrMethodFormatter

    low, high = axes.dataLim.intervalx
    if low <= 0 or high < 6 * low:
        return
    axes.set_xscale("log")
    steps = (1, 2, 5) if high < 50 * low else (1, 3) if high < 1000 * low else (1,)
    axes.xaxis.set_major_locator(LogLocator(subs=steps, numticks=7))
    # Powers of ten would be written in TeX.
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axes.minorticks_off()


def _saved(figure: Figure) -> str:
    picture = io.StringIO()
    figure.savefig(picture, format="svg", metadata={"Date": None, "Creator": None})
    return picture.getvalue()


def _element(text: str, name: str, label: str, described_by: str | None, tips: Mapping[str, str]) -> str:
    root = ElementTree.fromstring(text)
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    for parent in list(root.iter()):
        for child in list(parent):
            # The style element's rules would hold for the whole page, which has them for its plots.
            if child.tag in (f"{SVG}metadata", f"{SVG}style"):
                parent.remove(child)
    for element in root.iter():
        said = tips.get(element.get("id", ""))
        if said is not None:
            title = ElementTree.Element(f"{SVG}title")
            title.text = UNPRINTABLE.sub(" ", said)
            element.insert(0, title)
    compact(root, f"{FONT:g}px")
    root.set("class", "plot")
    root.set("role", "img")
    root.set("font-size", f"{FONT:g}")
    root.set("aria-label", UNPRINTABLE.sub(" ", label))
    if described_by is not None:
        root.set("aria-describedby", described_by)
    for element in root.iter():
        for key in ("id", "href", "style"):
            if key in element.attrib:
                element.set(key, _own(key, element.attrib[key], name))
    ElementTree.register_namespace("", SVG.strip("{}"))
    return ElementTree.tostring(root, encoding="unicode")


def _own(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    if key == "href":
        return f"#{name}-{value.removeprefix('#')}"
    return value.replace(INK, "currentColor")
