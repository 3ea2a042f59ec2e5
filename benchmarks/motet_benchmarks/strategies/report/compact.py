"""An SVG of matplotlib's in a third of its size, to the eye the same."""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element

SVG, XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"

#: A tenth of a unit is less than a fifth of a pixel at the widest that a plot is shown.
_DIGITS = 1

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?")

#: What the page's own style says of every plot, or what nothing depends on.
_STYLED = frozenset({"font-family", "stroke-linejoin", "stroke-linecap"})


def compact(root: Element, font_size: str) -> None:
    """Leave out what isn't seen, round what is, and say it once: `font_size` is the root's."""
    _strip(root)
    for element in root.iter():
        _attributes(element, font_size)
    _share(root)
    _unwrap(root)


def _attributes(element: Element, font_size: str) -> None:
    for key in ("x", "y", "width", "height", "transform", "viewBox"):
        if key in element.attrib:
            element.set(key, _rounded(element.attrib[key]))
    if element.get("transform", "").startswith("rotate(0 "):
        del element.attrib["transform"]
    if "d" in element.attrib:
        element.set("d", _path(element.attrib["d"]))
    if "style" in element.attrib:
        rules = [rule.split(":", 1) for rule in element.attrib["style"].split(";") if ":" in rule]
        kept = {key.strip(): value.strip() for key, value in rules if key.strip() not in _STYLED}
        if kept.get("font-size") == font_size:
            del kept["font-size"]
        element.set("style", ";".join(f"{key}:{value}" for key, value in kept.items()))
        if not kept:
            del element.attrib["style"]
    # Every axis is as long as what is drawn along it.
    element.attrib.pop("clip-path", None)
    if f"{XLINK}href" in element.attrib:
        element.set("href", element.attrib.pop(f"{XLINK}href"))


def _path(drawn: str) -> str:
    """The same with fewer signs; a line along an axis needs one number only."""
    words = _rounded(drawn).split()
    parts: list[str] = []
    at: tuple[str, str] | None = None
    place = 0
    while place < len(words):
        word = words[place]
        count = {"M": 2, "L": 2, "Q": 4, "C": 6}.get(word, 0)
        values = words[place + 1 : place + 1 + count]
        place += 1 + count
        to = (values[-2], values[-1]) if values else None
        if word == "L" and to is not None and at is not None and (to[0] == at[0] or to[1] == at[1]):
            if to != at:
                parts.append(f"V{to[1]}" if to[0] == at[0] else f"H{to[0]}")
        else:
            parts.append(word + " ".join(values))
        at = to
    return "".join(parts)


def _rounded(text: str) -> str:
    def short(found: re.Match[str]) -> str:
        value = round(float(found[0]), _DIGITS) + 0.0  # not -0.0
        return f"{value:.{_DIGITS}f}".removesuffix(".0")

    return _NUMBER.sub(short, text)


def _share(root: Element) -> None:
    """Keeps one of definitions that are the same, such as a marker's shape, and the ids of these alone."""
    first: dict[tuple[str, str], str] = {}
    instead: dict[str, str] = {}
    styles: dict[str, str] = {}
    for definitions in root.iter(f"{SVG}defs"):
        for shape in list(definitions):
            own, style = shape.get("id", ""), shape.get("style", "")
            if shape.tag != f"{SVG}path":
                definitions.remove(shape)
                continue
            instead[own] = first.setdefault((shape.get("d", ""), style), f"m{len(first)}")
            styles[own] = style
            if list(instead.values()).count(instead[own]) > 1:
                definitions.remove(shape)
    for element in root.iter():
        own = element.attrib.pop("id", "")
        if own in instead:
            element.set("id", instead[own])
        if element.tag == f"{SVG}use":
            name = element.get("href", "").removeprefix("#")
            element.set("href", f"#{instead[name]}")
            known = set(styles[name].split(";"))
            rest = [rule for rule in element.get("style", "").split(";") if rule not in known]
            element.set("style", ";".join(rest))


def _strip(root: Element) -> None:
    for element in root.iter():
        if element.tag not in (f"{SVG}text", f"{SVG}title") and not (element.text or "").strip():
            element.text = None
        element.tail = None


def _unwrap(parent: Element) -> None:
    """Leaves out groups that say nothing, and shapes without a colour."""
    children: list[Element] = []
    for child in parent:
        _unwrap(child)
        if child.tag == f"{SVG}g" and not child.attrib and child.find(f"{SVG}title") is None:
            children += child
        elif not _unseen(child):
            children.append(child)
    parent[:] = children


def _unseen(element: Element) -> bool:
    if element.tag in (f"{SVG}defs", f"{SVG}g"):
        return len(element) == 0
    return element.tag == f"{SVG}path" and element.get("style") == "fill:none"
