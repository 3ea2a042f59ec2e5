"""Plots made smaller: the same shapes at the same places, to a tenth of a unit."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from motet_benchmarks.strategies.report.compact import SVG, compact

NAMESPACES = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'


def compacted(inside: str) -> ElementTree.Element:
    root = ElementTree.fromstring(f"<svg {NAMESPACES}>{inside}</svg>")
    compact(root, "10px")
    return root


@pytest.mark.parametrize(
    ("drawn", "short"),
    [
        ("M 0 280.84  L 338.44 280.84  L 338.44 0  z ", "M0 280.8H338.4V0z"),
        # The third point is the second, to a tenth.
        ("M 1 2 L 3 4.04 L 3.01 4.03 L -0.04 4 ", "M1 2L3 4H0"),
        ("M 0 3 C 0.795609 3 1.55874 2.683901 2.12132 2.12132 L 5 2.1 z", "M0 3C0.8 3 1.6 2.7 2.1 2.1H5z"),
        ("M 0 0 Q 1.26 2 3 4 M 1 1 L 2e-05 1", "M0 0Q1.3 2 3 4M1 1H0"),
        ("M 0 0 L 0 -1.25e-07 L 1234567.89 5", "M0 0L1234567.9 5"),
    ],
)
def test_a_path_is_the_same_in_fewer_signs(drawn, short):
    found = compacted(f'<path d="{drawn}" style="stroke: #3b82c4; stroke-linejoin: miter"/>')
    assert found[0].attrib == {"d": short, "style": "stroke:#3b82c4"}


def test_shapes_of_markers_are_kept_once_and_groups_that_say_nothing_not_at_all():
    shape = '<defs><path id="{}" d="M 0 0 L 0 3.5" style="stroke: #010203; stroke-width: 0.8"/></defs>'
    use = '<use xlink:href="#{}" x="96.955408" y="1" style="fill: #3b82c4; stroke: #010203"/>'
    group = '<g id="line2d"> {} <g clip-path="url(#clip)"> {} </g></g>'
    tip = '<g id="tip"><title> what it is </title><path d="M 0 0" style="stroke: #010203"/></g>'
    found = compacted(
        group.format(shape.format("m1"), use.format("m1"))
        + group.format(shape.format("m2"), use.format("m2"))
        + '<path d="M 0 0 L 5 5" style="fill: none"/><defs><clipPath id="clip"><rect/></clipPath></defs>'
        + tip
    )
    assert [each.tag.removeprefix(SVG) for each in found] == ["defs", "use", "use", "g"]
    assert found[0][0].get("id") == "m0"
    assert [each.attrib for each in found[1:3]] == [
        {"href": "#m0", "x": "97", "y": "1", "style": "fill:#3b82c4"}
    ] * 2
    assert found[3].attrib == {}
    assert found[3][0].text == " what it is "


def test_texts_keep_their_words_and_their_own_size():
    found = compacted(
        '<text style="font-size: 10px; font-family: \'DejaVu Sans\'; text-anchor: middle" x="1.26"'
        ' transform="rotate(-0 1.26 2)"> a &lt; b </text><text style="font-size: 12px"'
        ' transform="rotate(-90 1.26 2)">c</text>'
    )
    assert found[0].attrib == {"style": "text-anchor:middle", "x": "1.3"}
    assert found[0].text == " a < b "
    assert found[1].attrib == {"style": "font-size:12px", "transform": "rotate(-90 1.3 2)"}
