"""The report as a person meets it: opened from the disk, no network, with and without scripts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Open = Callable[..., Any]


def test_it_asks_for_nothing_and_complains_of_nothing(tab: Open, report: str) -> None:
    opened = tab(report)

    opened.page.wait_for_timeout(200)
    assert opened.requests == [report]
    assert opened.complaints == []
    assert "could not be drawn" not in opened.page.locator("main").inner_text()


def test_hostile_names_do_nothing(tab: Open, report: str) -> None:
    opened = tab(report)

    assert opened.page.title().endswith("inference-harness")
    assert opened.page.locator("img").count() == 0
    assert opened.page.locator("main").inner_text().count("document.title='owned'") > 0


@pytest.mark.parametrize("width", [360, 768, 1440])
def test_nothing_is_wider_than_the_window(tab: Open, report: str, width: int) -> None:
    opened = tab(report, width=width)
    opened.page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")

    assert opened.overflow() == 0
    shown, hidden = (".slim", ".wide") if width < 576 else (".wide", ".slim")
    assert opened.page.locator(f"#fastest {shown}").is_visible()
    assert not opened.page.locator(f"#fastest {hidden}").is_visible()


@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_no_violation(tab: Open, report: str, dark: bool) -> None:
    opened = tab(report, dark=dark)
    opened.page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")

    assert opened.violations() == []


def test_everything_can_be_read_without_scripts(tab: Open, report: str) -> None:
    opened = tab(report, scripts=False)

    assert opened.page.locator("h1").is_visible()
    assert opened.page.locator("figure svg").first.is_visible()
    opened.page.locator("#fastest summary").first.click()
    assert opened.page.locator("#fastest table").is_visible()
    assert opened.page.locator("button").count() == 0
    assert opened.complaints == []


def test_a_click_on_a_heading_sorts_and_a_second_one_turns_it_around(
    tab: Open, report: str
) -> None:
    page = tab(report).page
    page.locator("#fastest summary").first.click()
    heads = page.locator("#fastest thead th").all_inner_texts()
    place = heads.index("times better") + 1
    cells = page.locator(f"#fastest tbody td:nth-child({place})")

    page.locator("#fastest thead button", has_text="times better").click()
    up = [float(text) for text in cells.all_inner_texts()]
    page.locator("#fastest thead button", has_text="times better").click()
    down = [float(text) for text in cells.all_inner_texts()]

    assert up == sorted(up)
    assert down == up[::-1]
    assert page.locator("#fastest th[aria-sort=descending]").count() == 1


def test_a_word_keeps_only_the_rows_that_hold_it(tab: Open, report: str) -> None:
    page = tab(report).page
    page.locator("#fastest summary").first.click()
    rows = page.locator("#fastest tbody tr:visible")
    before = rows.count()

    page.locator("#fastest input[type=search]").fill("peak_bytes bfloat16")

    assert 0 < rows.count() < before
    assert all("peak_bytes" in text for text in rows.all_inner_texts())


def test_a_series_can_be_lit_across_all_charts_from_the_keyboard(tab: Open, report: str) -> None:
    page = tab(report).page
    button = page.locator("#key button").first

    button.focus()
    page.keyboard.press("Enter")

    assert button.get_attribute("aria-pressed") == "true"
    series = page.locator("#key li").first.get_attribute("data-series")
    lit = page.locator("figure svg .on")
    assert lit.count() > 10
    assert page.locator(f"figure svg .on:not([data-series='{series}'])").count() == 0


def test_pointing_at_a_figure_says_what_it_is(tab: Open, report: str) -> None:
    page = tab(report).page

    page.locator("#fastest .wide svg [data-series] use").last.hover()

    assert page.locator("#tip").is_visible()
    assert "eager" in page.locator("#tip").inner_text()


@pytest.mark.parametrize("dark", [False, True])
def test_the_button_turns_light_to_dark_and_back(tab: Open, report: str, dark: bool) -> None:
    page = tab(report, dark=dark).page
    shade = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(shade)

    page.locator("#theme").click()
    other = page.evaluate(shade)
    page.locator("#theme").click()

    assert other != before
    assert page.evaluate(shade) == before


def test_a_table_is_copied_as_markdown(tab: Open, report: str) -> None:
    page = tab(report).page
    page.evaluate("navigator.clipboard.writeText = async (text) => { window.copied = text; }")
    page.locator("#fastest summary").first.click()

    page.locator("#fastest button", has_text="Copy as Markdown").click()

    lines = page.evaluate("window.copied").splitlines()
    assert lines[1].startswith("|---|")
    assert len(lines) == 2 + page.locator("#fastest tbody tr").count()


def test_it_prints_to_a_pdf(tab: Open, report: str, tmp_path: Path) -> None:
    page = tab(report).page

    page.pdf(path=tmp_path / "report.pdf", format="A4")

    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF-")


def test_every_control_is_reached_by_the_tab_key(tab: Open, report: str) -> None:
    page = tab(report).page
    reached = []
    for _ in range(4):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("document.activeElement.className || document.activeElement.id")
        )

    assert reached[0] == "skip"
    assert "theme" in reached
