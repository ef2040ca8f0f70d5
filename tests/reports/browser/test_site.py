"""The site as served: search, comparison in the browser, phones, axe."""

import functools
import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.store import Store
from harness.testing.runs import example_record, scaled_record
from reports.site.build import StaticSite

Open = Callable[..., Any]


class _Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a site of three runs, served from this machine."""
    folder = tmp_path_factory.mktemp("site")
    store = Store(folder / "store")
    for day, factor in enumerate((1.0, 1.004, 1.2), 1):
        record = scaled_record(example_record(run_id=f"2026110{day}-041502-default-3f2a"), factor)
        record.created_at = f"2026-11-0{day}T04:15:02+00:00"
        record.suite = "nightly" if day == 3 else "default"
        with store.create(record):
            pass
    StaticSite().build(store, folder / "site")
    handler = functools.partial(_Silent, directory=str(folder / "site"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_search_keeps_the_runs_that_hold_every_word(tab: Open, site: str) -> None:
    page = tab(site).page
    rows = page.locator("table.runs tbody tr:visible")
    assert rows.count() == 3

    page.locator("#search input").fill("nightly 2026-11-03")

    assert rows.count() == 1
    assert page.locator("#search [role=status]").inner_text() == "1 of 3"


def test_any_two_runs_are_divided_and_none_is_judged_in_the_browser(tab: Open, site: str) -> None:
    page = tab(f"{site}compare.html").page
    ids = page.locator("#a option").evaluate_all("(all) => all.map((o) => o.value)")

    page.locator("#a").select_option(ids[2])
    page.locator("#b").select_option(ids[0])

    page.locator("#result tbody tr", has_text="1.200").first.wait_for()
    shown = page.locator("main").inner_text().split("A ratio is candidate over base")[0]
    assert f"harness compare {ids[2]} {ids[0]}" in shown
    assert "regression" not in shown
    assert "improvement" not in shown


def test_a_link_to_a_comparison_opens_it_with_the_gates_words_of_when_it_was_built(
    tab: Open, site: str
) -> None:
    page = tab(f"{site}compare.html").page
    ids = page.locator("#a option").evaluate_all("(all) => all.map((o) => o.value)")

    page.goto(f"{site}compare.html?a={ids[2]}&b={ids[1]}")

    page.locator("#result tbody tr").first.wait_for()
    assert page.locator("#a").input_value() == ids[2]
    assert "The gate said" in page.locator("#gate").inner_text()


@pytest.mark.parametrize("width", [360, 1440])
def test_no_page_overflows_or_complains_or_leaves_the_site(
    tab: Open, site: str, width: int
) -> None:
    opened = tab(site, width=width)
    links = opened.page.locator("main a").evaluate_all("(all) => all.map((a) => a.href)")
    kinds = {link.removeprefix(site).split("/")[0]: link for link in links if ".html" in link}

    for link in [site, f"{site}compare.html", *kinds.values()]:
        opened.page.goto(link)
        opened.page.wait_for_load_state("networkidle")
        assert opened.overflow() == 0, link
    assert opened.complaints == []
    assert all(url.startswith(site) for url in opened.requests)


@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_no_violation_on_any_kind_of_page(tab: Open, site: str, dark: bool) -> None:
    opened = tab(site, dark=dark)
    links = opened.page.locator("main a").evaluate_all("(all) => all.map((a) => a.href)")
    kinds = {link.removeprefix(site).split("/")[0]: link for link in links if ".html" in link}

    for link in [site, f"{site}compare.html", *kinds.values()]:
        opened.page.goto(link)
        opened.page.wait_for_load_state("networkidle")
        assert opened.violations() == [], link


def test_the_comparison_says_how_to_see_it_from_a_folder(
    tab: Open, site: str, tmp_path: Path
) -> None:
    del site
    store = Store(tmp_path / "store")
    with store.create(example_record()):
        pass
    StaticSite().build(store, tmp_path / "site")

    page = tab((tmp_path / "site" / "compare.html").as_uri()).page

    page.locator("#said", has_text="http.server").wait_for()
