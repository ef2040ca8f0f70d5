"""How long `harness site` takes for 1,000 runs of 50 cases, and for one more.

    python -m benchmarks.site [--runs 1000] [--cases 50]

The store is made up first, from harness.testing.runs, with samples for the gate and a new revision
every tenth run; making it is not timed.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from harness.store import Store
from harness.store.migrate import dump_record
from harness.store.record import RunRecord
from harness.store.samples import COLUMNS, parquet_bytes
from harness.testing.runs import example_record, scaled_record
from reports.site.build import StaticSite


def main() -> None:
    """Make the store, build twice, print seconds and sizes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--cases", type=int, default=50)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store, site = Store(Path(folder) / "store"), Path(folder) / "site"
        for number in range(asked.runs):
            _add(store, number, asked.cases)
        seconds = {"full build": _timed(store, site)}
        _add(store, asked.runs, asked.cases)
        seconds["one more run"] = _timed(store, site)
        seconds["nothing new"] = _timed(store, site)
        files = [path for path in site.rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        record = next((store.root / "runs").iterdir()) / "run.json"
        print(
            json.dumps(
                {
                    "runs": asked.runs,
                    "cases": asked.cases,
                    "run_json_bytes": record.stat().st_size,
                    "seconds": {name: round(value, 2) for name, value in seconds.items()},
                    "files": len(files),
                    "site_bytes": size,
                },
                indent=1,
            )
        )


def _timed(store: Store, site: Path) -> float:
    start = time.perf_counter()
    StaticSite().build(store, site)
    return time.perf_counter() - start


def _add(store: Store, number: int, cases: int) -> None:
    """Write a finished run as the writer leaves it; figures wander by a per cent or so."""
    record = scaled_record(example_record(), 1 + 0.01 * ((number * 7919) % 11 - 5) / 5)
    when = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=number)
    record.id = f"{when:%Y%m%d-%H%M%S}-default-{number % 65536:04x}"
    record.created_at = when.isoformat()
    git = {"revision": f"{number // 10:040x}", "dirty": False}
    record.environment = {**record.environment, "git": git}
    base = record.cases
    record.cases = [
        base[n % len(base)].model_copy(update={"id": f"{base[n % len(base)].id}#{n // len(base)}"})
        for n in range(cases)
    ]
    folder = store.root / "runs" / record.id
    folder.mkdir(parents=True)
    (folder / "run.json").write_bytes(dump_record(record))
    (folder / "samples.parquet").write_bytes(_samples(record))


_known: dict[tuple[float, ...], bytes] = {}


def _samples(record: RunRecord) -> bytes:
    """Return the file of samples around a record's figures; the same figures give the same file."""
    wanted = {m.name: m.headline for m in record.metrics}
    figures = [
        (case, f)
        for case in record.cases
        for f in case.figures
        if f.statistic == wanted[f.metric] and f.reading.value is not None
    ]
    key = tuple(f.reading.value or 0.0 for _, f in figures[:3])
    if key not in _known:
        noise = random.Random(str(key))
        rows: dict[str, list[Any]] = {name: [] for name in COLUMNS}
        for case, figure in figures:
            for each in case.rounds:
                for index in range(30):
                    value = (figure.reading.value or 0.0) * noise.gauss(1, 0.01)
                    row = (case.id, each.round, 1, figure.point, "measure", 0, index, figure.metric)
                    for name, cell in zip(COLUMNS, (*row, value), strict=True):
                        rows[name].append(cell)
        arrays = {
            name: pa.array(rows[name]).dictionary_encode()
            if kind == "category"
            else pa.array(rows[name], pa.type_for_alias(kind.replace("float64", "double")))
            for name, kind in COLUMNS.items()
        }
        _known[key] = parquet_bytes(pa.table(arrays))
    return _known[key]


if __name__ == "__main__":
    main()
