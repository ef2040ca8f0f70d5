"""asv's result files (`results/MACHINE/COMMIT-ENV.json`). Samples need `asv run --record-samples`.

asv pools the samples of its processes, so a file counts as one process; several files of one commit
(`asv run --append-samples` into other folders) count as several.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import product
from typing import Any

from harness.bridges.foreign import Benchmark, ForeignRun
from harness.metrics import Direction, Metric

__all__ = ["TOOL", "is_ours", "read"]

TOOL = "asv"
_KINDS: dict[str, tuple[str, str, Direction, bool]] = {
    "time": ("time_s", "s", "lower", False),
    "timeraw": ("time_s", "s", "lower", False),
    "mem": ("object_bytes", "bytes", "lower", True),
    "peakmem": ("peak_bytes", "bytes", "lower", True),
}
"""Prefix of a benchmark's name to metric, unit, direction, and whether it is exact."""


def is_ours(data: Mapping[str, Any]) -> bool:
    """Whether a JSON object is one of this tool."""
    return "result_columns" in data and isinstance(data.get("results"), dict)


def read(data: Mapping[str, Any], text: bytes) -> ForeignRun:
    """Return what a file holds; `track_` benchmarks, whose direction is not known, are left out.

    Raises:
        KeyError, TypeError, ValueError: where it is not as the tool writes it.
    """
    columns = data["result_columns"]
    found = [
        benchmark
        for name, row in data["results"].items()
        for benchmark in _benchmarks(name, dict(zip(columns, row, strict=False)))
    ]
    date = data.get("date") or 0
    return ForeignRun(
        tool=TOOL,
        made_at=datetime.fromtimestamp(date / 1000, UTC).isoformat(timespec="seconds"),
        environment=_environment(data),
        processes=[found],
        text=text,
    )


def _benchmarks(name: str, row: Mapping[str, Any]) -> Iterator[Benchmark]:
    kind = _KINDS.get(name.rsplit(".", 1)[-1].split("_", 1)[0])
    if kind is None or row.get("result") is None:
        return
    metric = _metric(*kind)
    samples: Sequence[Any] = row.get("samples") or []
    # Without parameters asv writes [[]], which crosses to one empty choice.
    choices = list(product(*(row.get("params") or [])))
    for number, result in enumerate(row["result"]):
        params = choices[number] if number < len(choices) else ()
        recorded = samples[number] if number < len(samples) else None
        lost = result is None or math.isnan(float(result))
        values = recorded or ([] if lost else [float(result)])
        yield Benchmark(
            name=f"{name}({', '.join(params)})" if params else name,
            metric=metric,
            values=[] if lost else [float(v) for v in values],
            options={"version": row.get("version")},
            failure="asv has no result: it failed or took too long" if lost else None,
        )


def _metric(name: str, unit: str, better: Direction, exact: bool) -> Metric:
    return Metric(
        name=name,
        unit=unit,
        better=better,
        primary=True,
        pooled="per process" if exact else "per sample of asv",
        statistics=("once",) if exact else ("p50",),
        definition=f"As asv measures it, in {unit}.",
    )


def _environment(data: Mapping[str, Any]) -> dict[str, Any]:
    params = data.get("params") or {}
    facts: dict[str, dict[str, Any]] = {
        "cpu": {"model": params.get("cpu"), "logical_cores": params.get("num_cpu")},
        "os": {"machine": params.get("machine"), "architecture": params.get("arch")},
        "memory": {"total": params.get("ram")},
        "python": {"version": data.get("python")},
    }
    known = {t: {k: v for k, v in table.items() if v is not None} for t, table in facts.items()}
    packages = {k: str(v) for k, v in (data.get("requirements") or {}).items() if v}
    git = {"revision": data.get("commit_hash"), "dirty": False}
    return {**known, "packages": packages, "git": git}
