"""The report as a browser shows it."""

from __future__ import annotations

import json
import shutil

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="needs Chromium: apt-get install chromium chromium-driver"
)

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser, written):
    """Opens the report in a window of some width."""

    def opened(width: int, *, scheme: str = "light"):
        metrics = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        browser.get((written / "report.html").as_uri())
        return browser

    return opened


def of(browser, script: str):
    return browser.execute_script(f"return {script}")


def test_plots_and_tables_are_there_and_seen(opened):
    page = opened(1280)
    sizes = of(
        page, "[...document.querySelectorAll('svg.plot')].map(each => each.getBoundingClientRect().height)"
    )
    assert len(sizes) >= 9  # scores, two costs, a map, a curve, three latencies, families
    assert min(sizes) > 80
    # Shapes are drawn where they can be seen, not only an empty frame.
    assert of(
        page,
        "[...document.querySelectorAll('svg.plot')].every(e => e.querySelectorAll('path, use').length > 5)",
    )
    rows = of(page, "[...document.querySelectorAll('tbody')].map(each => each.rows.length)")
    assert len(rows) >= 6
    assert set(rows) == {13}  # every strategy but the refused one
    assert of(page, "document.querySelectorAll('.answer pre').length") > 10


def test_a_page_says_what_its_plots_show_and_gives_no_id_twice(opened):
    page = opened(1280)
    said = of(page, "[...document.querySelectorAll('svg.plot')].map(each => each.getAttribute('aria-label'))")
    assert all(40 < len(each) < 1200 for each in said)
    assert len(set(said)) == len(said)
    ids = of(page, "[...document.querySelectorAll('[id]')].map(each => each.id)")
    assert len(set(ids)) == len(ids)
    tables = of(
        page,
        "[...document.querySelectorAll('[aria-describedby]')].map(each => "
        "document.getElementById(each.getAttribute('aria-describedby')).tHead.textContent)",
    )
    assert [each.startswith("strategy") for each in tables] == [True]  # the one of families


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_nothing_is_wider_than_the_window(opened, width):
    page = opened(width)
    assert of(page, "document.documentElement.scrollWidth") <= width
    # What is wide is in a box of its own that scrolls.
    assert of(
        page,
        "[...document.querySelectorAll('main *')].filter(each => !each.closest('.scroll, .drawn') && "
        "each.getBoundingClientRect().right > innerWidth + 1).length",
    ) == 0  # fmt: skip
    assert of(
        page, "[...document.querySelectorAll('.scroll')].every(e => getComputedStyle(e).overflowX == 'auto')"
    )


@pytest.mark.parametrize("width", [320, 360, 390, 768, 1280])
def test_text_of_plots_is_as_large_as_that_of_the_page(opened, width):
    page = opened(width)
    sizes = of(
        page,
        "[...document.querySelectorAll('svg.plot text')].map(each => { const drawn = each.getScreenCTM(); "
        "return parseFloat(getComputedStyle(each).fontSize) * Math.hypot(drawn.c, drawn.d); })",
    )
    assert len(sizes) > 100
    assert min(sizes) >= 11
    assert max(sizes) <= 18


@pytest.mark.parametrize("width", [390, 1280])
def test_plots_hold_all_that_is_drawn_in_them(opened, width):
    page = opened(width)
    outside = of(
        page,
        "[...document.querySelectorAll('svg.plot')].flatMap(plot => { const box = plot.getBoundingClientRect(); "
        "return [...plot.querySelectorAll('text')].filter(each => { const own = each.getBoundingClientRect(); "
        "return own.left < box.left - 2 || own.right > box.right + 2 || own.bottom > box.bottom + 2; })"
        ".map(each => each.textContent); })",
    )
    assert outside == []


def test_names_of_rows_are_shown_whole(opened):
    page = opened(1280)
    cut = of(
        page,
        "[...document.querySelectorAll('tbody th, tbody th div')].filter(each => "
        "each.scrollWidth > each.clientWidth + 1 || getComputedStyle(each).textOverflow == 'ellipsis').length",
    )
    assert cut == 0


def test_nothing_is_logged_loaded_or_run_but_the_page_itself(opened, browser):
    browser.get("about:blank")
    browser.get_log("performance")  # what the browser loads of its own when it starts
    page = opened(1280)
    assert page.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    asked = {
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    }
    assert [url.rpartition("/")[2] for url in asked] == ["report.html"]
    assert page.title.startswith("Strategies")
    assert of(page, "document.scripts.length") == 1
    assert of(page, "document.images.length") == 0
    assert "<script>document.title" in of(page, "document.querySelector('.answer pre').textContent")


def test_a_heading_sorts_its_table_by_number(opened):
    page = opened(1280)
    page.execute_script("document.querySelectorAll('thead th')[1].querySelector('button').click()")
    cells = of(
        page, "[...document.querySelector('tbody').rows].map(each => parseFloat(each.cells[1].textContent))"
    )
    assert cells == sorted(cells, reverse=True)
    assert cells[0] > cells[-1]
    assert of(page, "document.querySelectorAll('thead th')[1].getAttribute('aria-sort')") == "descending"
    page.execute_script("document.querySelectorAll('thead th')[1].querySelector('button').click()")
    again = of(
        page, "[...document.querySelector('tbody').rows].map(each => parseFloat(each.cells[1].textContent))"
    )
    assert again == sorted(cells)


@pytest.mark.parametrize(
    ("place", "cells", "falling"),
    [
        # The first column holds names, whatever they begin with; numbers within them count as such.
        (0, ["best-of-4", "7b/a", "best-of-16", "10b/a"], ["best-of-16", "best-of-4", "10b/a", "7b/a"]),
        (
            1,
            ["1.5e-03 [1, 2]", "–", "1.23e+03 [1, 2]", "2 [1, 3]"],
            ["1.23e+03 [1, 2]", "2 [1, 3]", "1.5e-03 [1, 2]", "–"],
        ),
        (1, ["0.004", "< 0.001", "–", "0.250"], ["0.250", "0.004", "< 0.001", "–"]),
        (1, ["12", "1,234", "≥ 56", "-7"], ["1,234", "≥ 56", "12", "-7"]),
        (1, ["better", "worse", "better", "no"], ["worse", "no", "better", "better"]),
    ],
)
def test_headings_sort_by_name_and_by_number(opened, place, cells, falling):
    page = opened(1280)

    def pressed() -> list[str]:
        page.execute_script(f"document.querySelectorAll('thead th')[{place}].querySelector('button').click()")
        return of(
            page, f"[...document.querySelector('tbody').rows].map(each => each.children[{place}].textContent)"
        )

    page.execute_script(
        "const body = document.querySelector('tbody'); while (body.rows.length > arguments[1].length) "
        "body.rows[0].remove(); arguments[1].forEach((text, row) => "
        "{ body.rows[row].children[arguments[0]].textContent = text; });",
        place,
        cells,
    )
    rising = [
        *(each for each in reversed(falling) if each != "–"),
        *(each for each in falling if each == "–"),
    ]
    if place == 0:
        assert pressed() == rising
        assert of(page, "document.querySelector('thead th').getAttribute('aria-sort')") == "ascending"
    assert pressed() == falling
    assert pressed() == rising


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_plots_stand_out_from_the_page(opened, scheme):
    page = opened(1280, scheme=scheme)
    colours = of(
        page,
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color, "
        "getComputedStyle(document.querySelector('svg.plot text')).fill]",
    )
    back, text, plot = (brightness(colour) for colour in colours)
    assert (back > 0.8) if scheme == "light" else (back < 0.2)
    assert abs(back - text) > 0.6
    assert abs(back - plot) > 0.6


def brightness(colour: str) -> float:
    """Of "rgb(1, 2, 3)", from 0 to 1."""
    channels = [int(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    return sum(channels) / 3 / 255
