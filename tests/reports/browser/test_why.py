"""Where the time goes, as a person meets it: with and without scripts, on a phone and at a desk."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.store import Run, Store
from harness.testing.profiles import example_profile, store_profile
from harness.testing.runs import example_record
from reports.html.report import HtmlReport

Open = Callable[..., Any]
HOSTILE = "</title><script>document.title='owned'</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def profiled(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Address of the report of a profiled run, whose functions have hostile names."""
    folder = tmp_path_factory.mktemp("why")
    with Store(folder / "store").create(example_record()) as writer:
        run = Run(writer.path)
    profile = example_profile(run.record.cases[0].id, HOSTILE)
    store_profile(run, profile, f"main (a.py:1);{HOSTILE} (b.py:2) 7\n")
    HtmlReport().write([run], folder / "report.html")
    return (folder / "report.html").as_uri()


@pytest.mark.parametrize(("width", "dark"), [(360, True), (1440, False)])
def test_it_fits_the_window_and_axe_finds_nothing(
    tab: Open, profiled: str, width: int, dark: bool
) -> None:
    opened = tab(profiled, width=width, dark=dark)
    opened.page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")

    assert opened.overflow() == 0
    assert opened.violations() == []
    assert opened.complaints == []
    assert opened.page.locator("img").count() == 0
    assert opened.page.title().endswith("inference-harness")


def test_without_scripts_icicle_table_and_stacks_can_be_seen_and_downloaded(
    tab: Open, profiled: str
) -> None:
    why = tab(profiled, scripts=False).page.locator("#why1")

    assert why.locator("figure svg").first.is_visible()
    assert why.locator("table").first.is_visible()
    why.locator("summary", has_text="Sampled stacks").click()
    with why.page.expect_download() as download:
        why.locator("a[download]").click()
    text = Path(download.value.path()).read_text()
    assert json.loads(text)["profiles"][0]["endValue"] == 7
