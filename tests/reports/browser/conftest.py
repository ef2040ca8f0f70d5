"""A real browser, Debian's Chromium, driven by Playwright: it skips loudly, and never in CI."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.store import Run, Store
from harness.testing.runs import example_record
from reports.html.report import HtmlReport

SAMPLE = Path(__file__).parents[1] / "sample_run"
HOSTILE = "</title><script>document.title='owned'</script><img src=x onerror=alert(1)>\u202e$x"
_FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
)  # fmt: skip


def chromium() -> str | None:
    """Return where the browser is, if anywhere."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    path = chromium()
    if path is None:
        words = "BROWSER TESTS SKIPPED: no Chromium; make browser installs it (apt, as root)"
        if os.environ.get("CI") == "true":
            pytest.fail(words)
        pytest.skip(words)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=list(_FLAGS))
        yield found
        found.close()


class Tab:
    """A page in the browser, with all that it asked for and complained of."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than the window."""
        wide = self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        return int(wide)

    def violations(self) -> list[str]:
        """Return what axe-core finds wrong, one line each."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.page).response["violations"]
        return [f"{v['id']}: {v['nodes'][0]['html'][:200]}" for v in found]


@pytest.fixture
def tab(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open an address in a window: `tab(url, width=360, dark=True, scripts=False)`."""
    contexts: list[Any] = []

    def open_(url: str, *, width: int = 1440, dark: bool = False, scripts: bool = True) -> Tab:
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if dark else "light",
            java_script_enabled=scripts,
            reduced_motion="reduce",
        )
        contexts.append(context)
        opened = Tab(context.new_page())
        opened.page.goto(url)
        return opened

    yield open_
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Address of a report of a real run, and of one whose names are hostile and that failed."""
    folder = tmp_path_factory.mktemp("report")
    record = example_record(statuses={"smollm2-135m/eager[dtype=bfloat16]/memory": "failed"})
    record.suite = HOSTILE
    record.cases[0].id = HOSTILE
    with Store(folder / "store").create(record) as writer:
        HtmlReport().write([Run(SAMPLE), Run(writer.path)], folder / "report.html")
    return (folder / "report.html").as_uri()
