"""Plots as SVG that stands inside a page: it takes the page's colours and fonts, and says in words what it shows."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from xml.etree import ElementTree

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Drawn with in place of black, and replaced by the page's own colour of text, light or dark.
INK = "#010203"

#: Of middling brightness, so that they are told from white and from black.
COLOURS = ("#3b82c4", "#e08214", "#2a9d6f", "#c4569b", "#8b6fd1", "#d1495b", "#8f9a2e", "#3fa7b5")

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"

#: What XML can't hold, and what would only confuse a reader.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")

_STYLE: Mapping[str, object] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "motet",
    "text.parse_math": False,  # a strategy's name may hold any sign
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": INK,
    "grid.alpha": 0.13,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
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

    def svg(self, name: str, label: str) -> str:
        """The element. `name` keeps its ids apart from other plots' on the page."""
        return _element(_saved(self.figure), name, label, self.tips)


@contextmanager
def canvas(width: float = 4.7, height: float = 3.4) -> Iterator[Canvas]:
    """A figure of so many inches at a column's width; drawn and made SVG inside the block."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    # Glyphs are the browser's, so one that matplotlib's font lacks only makes a label's width a guess.
    with rc_context(_STYLE), warnings.catch_warnings():  # type: ignore[arg-type]
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield Canvas(Figure(figsize=(width, height), layout="constrained"))


def logarithmic(axes: Axes) -> None:
    """A logarithmic x axis whose ticks are plain numbers, as powers of ten would be written in TeX."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def shorten(name: str, most: int = 30) -> str:
    """A name as a plot shows it: a long one without its middle, as names of a sweep differ at their end."""
    name = _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", name)
    tail = most // 2
    return name if len(name) <= most else f"{name[: most - tail - 1]}…{name[-tail:]}"


def _saved(figure: Figure) -> str:
    picture = io.StringIO()
    figure.savefig(picture, format="svg", metadata={"Date": None, "Creator": None})
    return picture.getvalue()


def _element(text: str, name: str, label: str, tips: Mapping[str, str]) -> str:
    root = ElementTree.fromstring(text)
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    root.set("class", "plot")
    root.set("role", "img")
    root.set("aria-label", _UNPRINTABLE.sub(" ", label))
    for parent in list(root.iter()):
        for child in list(parent):
            # The style element's rules would hold for the whole page, which has them for its plots.
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):
                parent.remove(child)
    for element in root.iter():
        said = tips.get(element.get("id", ""))
        if said is not None:
            title = ElementTree.Element(f"{{{_SVG}}}title")
            title.text = _UNPRINTABLE.sub(" ", said)
            element.insert(0, title)
        for key, value in element.attrib.items():
            element.set(key, _own(key, value, name))
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _XLINK)
    return ElementTree.tostring(root, encoding="unicode")


def _own(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    if key == f"{{{_XLINK}}}href":
        return f"#{name}-{value.removeprefix('#')}"
    if key in ("style", "fill", "stroke", "clip-path"):
        return value.replace("url(#", f"url(#{name}-").replace(INK, "currentColor")
    return value
