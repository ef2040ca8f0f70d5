"""The site from the store: what changed since the last build is read again, the rest is kept.

    pages/*.j2   words and their order
    extract      a run as JSON
    verdicts     what the gate says of it beside the run before
    workers      both, in as many processes as there are cores
    series       a case over its runs
    curves       a case's history as a picture
    feed         Atom, badges, sitemap

The same store gives the same bytes. A state file holds size and time of each run's record, so that
adding a run reads that run, the histories of its cases, and nothing else of the store.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness.contracts import Site
from harness.store.durable import write_durably
from reports.site.extract import SCHEMA, dumped
from reports.site.feed import atom, badges, sitemap
from reports.site.pages import Pages, templates_digest
from reports.site.series import changes
from reports.site.verdicts import Pair, pairs
from reports.site.workers import Place, judged, read, workers

if TYPE_CHECKING:
    from harness.store import Store

__all__ = ["StaticSite"]

_STATE = ".site.json"


class StaticSite(Site):
    """Pages of runs, cases with their history, backends and machines; data, feed, badges."""

    summary: ClassVar[str] = "static pages of all runs, with history, comparison, data and feed"

    def build(self, store: Store, folder: Path, *, url: str | None = None) -> int:
        """Bring the folder up to date with the store; return how many runs were read."""
        state = _State.read(folder, url)
        sources = dict(_sources(store))
        fresh = [name for name, stamp in sources.items() if state.runs.get(name) != stamp]
        summaries = {r["id"]: r for r in _json(folder / "data" / "runs.json", [])}
        gone = [name for name in {**state.runs, **summaries} if name not in sources]
        touched = {slug for name in (*fresh, *gone) for slug in _cases_of(folder, name)}
        for name in gone:
            summaries.pop(name, None)
            for file in (f"data/runs/{name}.json", f"runs/{name}.html"):
                (folder / file).unlink(missing_ok=True)
        place = Place(str(store.root), str(folder))
        with workers(len(fresh)) as at_once:
            for summary in at_once(read, [(place, name) for name in fresh[::-1]]):
                summaries[summary["id"]] = summary
            held = {pair.cand: pair for pair in pairs(list(summaries.values()))}
            made_of = {name: pair.made_of for name, pair in held.items()}
            stale = _stale(summaries, set(fresh), held, state.pairs)
            rows: dict[str, list[dict[str, Any]]] = {}
            about: dict[str, dict[str, Any]] = {}
            for done in at_once(judged, [(place, name, held.get(name)) for name in stale]):
                summaries[done.run]["against"] = done.against
                for case, row in done.rows:
                    rows.setdefault(case["slug"], []).append(row)
                    about[case["slug"]] = case
        pages = Pages(folder, url)
        dropped = {*stale, *gone}
        known = {
            slug: _update_case(folder, pages, slug, dropped, rows.get(slug, []), about.get(slug))
            for slug in sorted(touched | set(rows))
        }
        runs = sorted(
            summaries.values(), key=lambda r: (r["created_at"] or "", r["id"]), reverse=True
        )
        _finish(folder, pages, runs, known, url)
        _State(url, sources, made_of).write(folder)
        return len(fresh)


def _stale(
    summaries: Mapping[str, Any],
    fresh: set[str],
    held: Mapping[str, Pair],
    before: Mapping[str, str],
) -> list[str]:
    """Return runs whose page must be written: read anew, or held against other runs than before."""
    moved = set(fresh)
    for name in summaries:
        pair = held.get(name)
        if pair is None:
            moved |= {name} & before.keys()
        elif pair.made_of != before.get(name) or fresh & {pair.base, *pair.earlier}:
            moved.add(name)
    return sorted(moved, key=lambda name: (summaries[name]["created_at"] or "", name))


@dataclass
class _State:
    """What the folder was built from."""

    url: str | None
    runs: dict[str, list[int]] = field(default_factory=dict)
    pairs: dict[str, str] = field(default_factory=dict)
    """Run to a digest of the runs that it was held against."""

    @classmethod
    def read(cls, folder: Path, url: str | None) -> _State:
        """Return the state of a folder; empty where other code or another address made it."""
        said = _json(folder / _STATE, {})
        ours = {"schema": SCHEMA, "made_by": templates_digest(), "url": url}
        if any(said.get(name) != value for name, value in ours.items()):
            return cls(url)
        return cls(url, said["runs"], said["pairs"])

    def write(self, folder: Path) -> None:
        document = {
            "schema": SCHEMA,
            "made_by": templates_digest(),
            "url": self.url,
            "runs": self.runs,
            "pairs": self.pairs,
        }
        write_durably(folder / _STATE, dumped(document).encode())


def _sources(store: Store) -> Iterator[tuple[str, list[int]]]:
    """Yield every run folder with what tells whether its record changed."""
    for name in store.ids():
        try:
            seen = (store.root / "runs" / name / "run.json").stat()
        except OSError:
            continue  # a folder that holds no run yet
        yield name, [seen.st_size, seen.st_mtime_ns]


def _cases_of(folder: Path, name: str) -> Iterable[str]:
    document = _json(folder / "data" / "runs" / f"{name}.json", {})
    return {case["slug"] for case in document.get("cases", [])}


def _update_case(
    folder: Path,
    pages: Pages,
    slug: str,
    stale: set[str],
    fresh: Sequence[dict[str, Any]],
    about: dict[str, Any] | None,
) -> dict[str, Any]:
    """Replace a case's rows of the runs that changed, and return it; one without runs goes."""
    file = folder / "data" / "cases" / f"{slug}.json"
    known = _json(file, {"rows": []})
    rows = [row for row in known["rows"] if row["run"] not in stale] + list(fresh)
    if not rows:
        file.unlink(missing_ok=True)
        (folder / "cases" / f"{slug}.html").unlink(missing_ok=True)
        return {"rows": []}
    rows.sort(
        key=lambda row: (row["created_at"], row["run"], row.get("metric", ""), row.get("point", ""))
    )
    case = about or {name: known[name] for name in ("id", "slug", "model", "backend", "scenario")}
    case = {"schema": SCHEMA, **case, "rows": rows}
    pages.write(f"data/cases/{slug}.json", dumped(case))
    pages.case(case, list(changes(case["id"], slug, rows)))
    return case


def _finish(
    folder: Path,
    pages: Pages,
    runs: Sequence[Mapping[str, Any]],
    known: Mapping[str, dict[str, Any]],
    url: str | None,
) -> None:
    """Write all that is made of every run at once; cases that are not `known` are read."""
    files = sorted((folder / "data" / "cases").glob("*.json"))
    cases = [known.get(file.stem) or json.loads(file.read_bytes()) for file in files]
    moved = [change for case in cases for change in changes(case["id"], case["slug"], case["rows"])]
    moved.sort(key=lambda c: (c.row["created_at"], c.slug, c.metric, c.point), reverse=True)
    pages.write("data/runs.json", dumped(list(runs)))
    pages.index(runs, cases, moved)
    pages.backends(runs, cases)
    pages.machines(runs)
    pages.compare(runs)
    pages.write("feed.xml", atom(runs, moved, url))
    for name, text in badges(runs, cases):
        pages.write(f"badges/{name}.svg", text)
    if url:
        pages.write("sitemap.xml", sitemap(folder, url))
    pages.write_bytes("data/history.parquet", _parquet(cases))
    pages.static()


def _parquet(cases: Sequence[Mapping[str, Any]]) -> bytes:
    """Return every primary figure of every run as a table; data/README.md names its columns."""
    import pyarrow as pa

    from harness.store.samples import parquet_bytes

    names = (
        "run", "created_at", "revision", "machine", "status", "metric", "point", "statistic",
        "unit", "better", "value", "low", "high", "n", "processes", "verdict", "ratio", "ratio_low",
        "ratio_high",
    )  # fmt: skip
    floats = ("value", "low", "high", "ratio", "ratio_low", "ratio_high")
    numbers = dict.fromkeys(floats, pa.float64()) | dict.fromkeys(("n", "processes"), pa.int64())
    head = {
        name: pa.array([c[name] for c in cases for _ in c["rows"]], pa.string())
        for name in ("id", "model", "backend", "scenario")
    }
    body = {
        name: pa.array(
            [row.get(name) for c in cases for row in c["rows"]], numbers.get(name, pa.string())
        )
        for name in names
    }
    return parquet_bytes(pa.table({"case": head.pop("id"), **head, **body}))


def _json(path: Path, missing: Any) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return missing
