"""What is done per run, here or in processes of their own: reading, judging, its page.

A run is read first, and judged once it is known which runs came before it.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from harness.contracts import usable_cores
from reports.site.extract import dumped, extract
from reports.site.pages import Pages
from reports.site.series import rows_of
from reports.site.verdicts import Pair, said_of

__all__ = ["Judged", "Place", "judged", "read", "workers"]

_ALONE = 12
"""So many runs are read in this process; more are worth starting others."""
_KEPT = (
    "id", "broken", "suite", "created_at", "status", "what", "answers", "tokens", "machine",
    "revision", "code", "duet", "marks",
)  # fmt: skip
"""What the index knows of a run."""


class Place(NamedTuple):
    """Where runs come from and pages go to."""

    store: str
    site: str


class Judged(NamedTuple):
    """What the rest of the site needs of a run once it is judged."""

    run: str
    against: dict[str, Any] | None
    """What the gate says beside the run before it, without its rows."""
    rows: list[tuple[dict[str, Any], dict[str, Any]]]
    """(case, row) per primary figure."""


Map = Callable[[Callable[[Any], Any], Sequence[Any]], Iterator[Any]]


@contextmanager
def workers(count: int) -> Iterator[Map]:
    """Yield a map in order over `count` tasks: in this process, or in as many as there are cores.

    Neighbours go to the same process, which keeps what it has read.
    """
    if count <= _ALONE:
        yield map
        return
    cores = usable_cores()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores, mp_context=context) as pool:
        yield lambda work, tasks: pool.map(work, tasks, chunksize=max(len(tasks) // (4 * cores), 1))


def read(task: tuple[Place, str]) -> dict[str, Any]:
    """Read a run, write its data, return its line in the index."""
    place, name = task
    run = extract(str(Path(place.store) / "runs" / name))
    _pages(place.site).write(f"data/runs/{run['id']}.json", dumped(run))
    summary = {key: run.get(key) for key in _KEPT}
    summary["cases"] = len(run["cases"])
    summary["backends"] = sorted({case["backend"] for case in run["cases"]})
    return summary


def judged(task: tuple[Place, str, Pair | None]) -> Judged:
    """Judge a run that was read beside the one before it; write data and page again."""
    place, name, pair = task
    pages = _pages(place.site)
    file = f"data/runs/{name}.json"
    run = json.loads((Path(place.site) / file).read_bytes())
    run["against"] = said_of(place.store, pair) if pair else None
    pages.write(file, dumped(run))
    pages.run(run)
    about = ("id", "slug", "model", "backend", "scenario")
    rows = [({key: case[key] for key in about}, row) for case, row in rows_of(run)]
    against = {k: v for k, v in run["against"].items() if k != "rows"} if pair else None
    return Judged(name, against, rows)


@cache
def _pages(folder: str) -> Pages:
    return Pages(Path(folder), None)
