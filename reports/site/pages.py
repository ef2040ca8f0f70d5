"""Files of the site: templates filled and written, only where their bytes changed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import StoreError
from harness.shown import quantity
from reports.site.curves import histories
from reports.site.extract import slug
from reports.site.feed import change_words
from reports.site.series import Change

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["Pages", "templates_digest"]

_HERE = Path(__file__).parent
_TEMPLATES = _HERE / "templates"
_SHARED = _HERE.parent / "html" / "page.css"
_NEWEST = 20


@cache
def templates_digest() -> str:
    """Return what the site's code and templates are; another digest means: build all anew."""
    files = [*sorted(_HERE.glob("*.py")), *sorted(_TEMPLATES.iterdir()), _SHARED]
    return hashlib.sha256(
        b"".join(file.read_bytes() for file in files if file.is_file())
    ).hexdigest()[:16]


class Pages:
    """The folder that is served."""

    def __init__(self, folder: Path, url: str | None) -> None:
        self.folder = folder
        self.url = url

    def write(self, name: str, text: str) -> None:
        """Write a file of the site, unless it has these bytes already."""
        self.write_bytes(name, text.encode("utf-8", "backslashreplace"))

    def write_bytes(self, name: str, data: bytes) -> None:
        """Write a file of the site, unless it has these bytes already.

        Raises:
            StoreError: where it cannot be written.
        """
        path = self.folder / name
        try:
            if path.exists() and path.stat().st_size == len(data) and path.read_bytes() == data:
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        except OSError as error:
            raise StoreError(
                f"cannot be written: {error.strerror}",
                where=str(path),
                remedy="name a folder with -o",
            ) from error

    def static(self) -> None:
        """Write what is the same for every store."""
        style = _SHARED.read_text(encoding="utf-8").replace("/*series*/", "")
        self.write("style.css", style + (_TEMPLATES / "site.css").read_text(encoding="utf-8"))
        for name in ("search.js", "compare.js"):
            self.write(name, (_TEMPLATES / name).read_text(encoding="utf-8"))
        self.write("data/README.md", (_TEMPLATES / "data.md").read_text(encoding="utf-8"))
        self.write(".nojekyll", "")

    def run(self, run: Mapping[str, Any]) -> None:
        """Write the page of a run."""
        self._page("run", f"runs/{run['id']}.html", run=run)

    def case(self, case: Mapping[str, Any], moved: Sequence[Change]) -> None:
        """Write the page of a case: its history, and what changed when."""
        words: dict[tuple[str, str], dict[str, str]] = {}
        for change in moved:
            words.setdefault((change.metric, change.point), {})[change.row["run"]] = change_words(
                change
            )
        self._page(
            "case", f"cases/{case['slug']}.html", case=case, moved=list(reversed(moved)),
            histories=histories(case["rows"], words), latest=case["rows"][-1],
            failed=[row for row in reversed(case["rows"]) if row.get("value") is None][:_NEWEST],
        )  # fmt: skip

    def index(
        self,
        runs: Sequence[Mapping[str, Any]],
        cases: Sequence[Mapping[str, Any]],
        moved: Sequence[Change],
    ) -> None:
        """Write the first page."""
        worse = [change for change in moved if change.worse][:_NEWEST]
        self._page("index", "index.html", runs=runs, cases=cases, worse=worse)

    def backends(
        self, runs: Sequence[Mapping[str, Any]], cases: Sequence[Mapping[str, Any]]
    ) -> None:
        """Write a page per backend, with the latest figure of each of its cases."""
        self._groups("backend", cases, runs, "backends", key=lambda case: case["backend"])

    def machines(self, runs: Sequence[Mapping[str, Any]]) -> None:
        """Write a page per machine, with its runs."""
        self._groups(
            "machine",
            [run for run in runs if run.get("machine")],
            runs,
            "machines",
            key=lambda run: run["machine"],
        )

    def compare(self, runs: Sequence[Mapping[str, Any]]) -> None:
        """Write the page that compares any two runs in the browser."""
        self._page("compare", "compare.html", runs=[run for run in runs if not run.get("broken")])

    def _groups(
        self, template: str, things: Sequence[Any], runs: Sequence[Any], place: str, *, key: Any
    ) -> None:
        groups: dict[str, list[Any]] = {}
        for thing in things:
            groups.setdefault(key(thing), []).append(thing)
        wanted = {f"{slug(name)}.html" for name in groups}
        for file in (self.folder / place).glob("*.html"):
            if file.name not in wanted:
                file.unlink()
        for name, members in groups.items():
            self._page(
                template, f"{place}/{slug(name)}.html", name=name, members=members, runs=runs
            )

    def _page(self, template: str, file: str, /, **values: Any) -> None:
        up = "../" * file.count("/")
        page = self._environment.get_template(f"{template}.html.j2")
        self.write(file, page.render(up=up, slug=slug, **values))

    @cached_property
    def _environment(self) -> Environment:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        environment = Environment(
            loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined,
            trim_blocks=True, lstrip_blocks=True,
        )  # fmt: skip
        environment.filters["words"] = change_words
        environment.filters["span"] = _span
        environment.filters["counted"] = lambda counts: ", ".join(
            f"{n} {verdict}" for verdict, n in counts.items()
        )
        environment.filters["when"] = lambda text: (text or "")[:16].replace("T", " ")
        return environment


def _span(low: float, high: float, unit: str) -> str:
    return f"{quantity(low, unit)} to {quantity(high, unit)}"
