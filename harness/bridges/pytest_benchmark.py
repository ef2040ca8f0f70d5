"""pytest-benchmark's JSON (`--benchmark-json`), both ways. One file is one process.

Its `data` are seconds per iteration, one value per round of its own. What we have no field for is
kept in `facts` as it stands, so that a file comes out as it went in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from harness.bridges.foreign import Benchmark, ForeignRun
from harness.errors import InputError, UnavailableError
from harness.metrics import Metric
from harness.store import Run
from harness.store.record import CaseRecord, RunRecord

__all__ = ["TIME", "TOOL", "is_ours", "read", "to_pytest_benchmark"]

TOOL = "pytest-benchmark"
TIME = Metric(
    name="time_s",
    unit="s",
    better="lower",
    primary=True,
    pooled="per round of the benchmark",
    definition="Seconds per call: the time of a round over the calls in it, as the tool took it.",
)
_KEPT = ("group", "name", "fullname", "params", "param", "extra_info", "options")
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_ROUNDS = "harness_rounds"
"""In `extra_info`: how many values each of our rounds gave; a file has one list for all."""


def is_ours(data: Mapping[str, Any]) -> bool:
    """Whether a JSON object is one of this tool."""
    return isinstance(data.get("benchmarks"), list) and "machine_info" in data


def read(data: Mapping[str, Any], text: bytes) -> ForeignRun:
    """Return what a file holds.

    Raises:
        KeyError, TypeError, ValueError: where it is not as the tool writes it.
    """
    whole = [_benchmark(entry) for entry in data["benchmarks"]]
    rounds = max((len(parts) for parts in whole), default=0)
    return ForeignRun(
        tool=TOOL,
        made_at=_utc(data.get("datetime")),
        environment=_environment(data),
        processes=[[parts[i] for parts in whole if i < len(parts)] for i in range(rounds)],
        text=text,
    )


def to_pytest_benchmark(run: Run) -> bytes:
    """Return a run as one file: a benchmark for each case and time that it measures.

    Raises:
        InputError: where the run has no metric in a unit of time.
    """
    record = run.record
    frame = run.samples
    frame = frame[frame["phase"] == "measure"]
    metrics = {m.name: m for m in record.metrics if m.unit in _SECONDS}
    benchmarks = []
    groups = frame.groupby(["case", "metric", "point"], observed=True, sort=False)
    order = {case.id: place for place, case in enumerate(record.cases)}
    for key, rows in sorted(groups, key=lambda group: order[str(group[0][0])]):
        case, metric, point = map(str, key)
        if metric in metrics and record.case(case).status == "done":
            values = rows["value"].to_numpy() * _SECONDS[metrics[metric].unit]
            sizes = [len(part) for _, part in rows.groupby("round", sort=True)]
            benchmarks.append(_entry(record.case(case), metric, point, values, sizes))
    if not benchmarks:
        raise InputError(
            f"run {record.id} has no time to export",
            expected=f"a metric in {', '.join(_SECONDS)}: pytest-benchmark knows only times",
        )
    ours = record.environment.get(TOOL, {})
    document = {
        "machine_info": ours.get("machine_info") or _machine_info(record),
        "commit_info": ours.get("commit_info") or _commit_info(record),
        "benchmarks": benchmarks,
        "datetime": ours.get("datetime") or record.created_at,
        "version": ours.get("version") or f"inference-harness {record.harness_version}",
    }
    return json.dumps(document, indent=4).encode() + b"\n"


def _benchmark(entry: Mapping[str, Any]) -> list[Benchmark]:
    """Return one benchmark per process that a file holds: one, unless we wrote it."""
    stats = entry["stats"]
    values = [float(x) for x in stats.get("data") or []]
    # --benchmark-save-data left out: the median is all that is known.
    if not values:
        values = [float(stats["median"])]
    facts = {key: entry.get(key) for key in _KEPT}
    facts |= {
        "iterations": stats.get("iterations", 1),
        "stats": stats if "data" not in stats else {},
    }
    sizes = (entry.get("extra_info") or {}).get(_ROUNDS) or [len(values)]
    if sum(sizes) != len(values):
        raise ValueError(f"{len(values)} values where {_ROUNDS} says {sum(sizes)}")
    ends = np.cumsum(sizes)
    return [
        Benchmark(
            name=str(entry["fullname"]),
            metric=TIME,
            values=values[end - size : end],
            facts={TOOL: facts},
            options={"params": entry.get("params")},
        )
        for size, end in zip(sizes, ends, strict=True)
    ]


def _environment(data: Mapping[str, Any]) -> dict[str, Any]:
    machine, commit = data.get("machine_info") or {}, data.get("commit_info") or {}
    cpu = machine.get("cpu") or {}
    facts: dict[str, Any] = {
        "cpu": {"model": cpu.get("brand_raw"), "logical_cores": cpu.get("count")},
        "os": {
            "system": machine.get("system"),
            "architecture": machine.get("machine"),
            "kernel": machine.get("release"),
            "machine": machine.get("node"),
        },
        "python": {
            "version": machine.get("python_version"),
            "implementation": machine.get("python_implementation"),
        },
        "git": {
            "revision": commit.get("id"),
            "branch": commit.get("branch"),
            "dirty": commit.get("dirty"),
        },
    }
    facts = {
        topic: {k: {"absent": "not in the file"} if v is None else v for k, v in table.items()}
        for topic, table in facts.items()
    }
    kept = ("machine_info", "commit_info", "version", "datetime")
    return {**facts, TOOL: {key: data.get(key) for key in kept}}


def _entry(
    case: CaseRecord, metric: str, point: str, values: Any, sizes: Sequence[int]
) -> dict[str, Any]:
    kept = next((r.facts[TOOL] for r in case.rounds if TOOL in r.facts), None)
    # What was imported has its name already; what is ours is named by case, metric and point.
    name = case.id if kept else " ".join(filter(None, [case.id, metric, point]))
    entry = {
        "group": metric,
        "name": name,
        "fullname": name,
        "params": None,
        "param": None,
        "extra_info": {},
        "options": {"timer": "monotonic_ns", "warmup": False},
    }
    iterations = 1
    if kept:
        entry |= {key: kept[key] for key in _KEPT}
        iterations = kept["iterations"]
    if len(sizes) > 1:
        entry["extra_info"] = {**(entry["extra_info"] or {}), _ROUNDS: list(sizes)}  # type: ignore[dict-item]
    stats = _stats(values, iterations) if not (kept and kept["stats"]) else kept["stats"]
    return {**entry, "stats": stats}


def _stats(values: Any, iterations: int) -> dict[str, Any]:
    """Return the statistics as the tool defines them (`pytest_benchmark.stats.Stats`).

    Raises:
        UnavailableError: where pytest-benchmark is not installed.
    """
    try:
        import pytest_benchmark.stats as tool
    except ImportError as error:
        raise UnavailableError(
            "pytest-benchmark is not installed", remedy="pip install inference-harness[pytest]"
        ) from error
    stats: Any = tool.Stats()  # type: ignore[no-untyped-call]
    for value in values:
        stats.update(float(value))
    return {**stats.as_dict(), "data": [float(v) for v in values], "iterations": iterations}


def _machine_info(record: RunRecord) -> dict[str, Any]:
    facts = record.environment
    cpu, system, python = (facts.get(t) or {} for t in ("cpu", "os", "python"))
    return {
        "node": system.get("machine"),
        "machine": system.get("architecture"),
        "system": system.get("system"),
        "release": system.get("kernel"),
        "python_version": python.get("version"),
        "python_implementation": python.get("implementation"),
        "cpu": {"brand_raw": cpu.get("model"), "count": cpu.get("logical_cores")},
    }


def _commit_info(record: RunRecord) -> dict[str, Any]:
    git = record.environment.get("git") or {}
    return {"id": git.get("revision"), "branch": git.get("branch"), "dirty": git.get("dirty")}


def _utc(text: object) -> str:
    moment = datetime.fromisoformat(str(text)) if text else datetime.fromtimestamp(0, UTC)
    return moment.astimezone(UTC).isoformat(timespec="seconds")
