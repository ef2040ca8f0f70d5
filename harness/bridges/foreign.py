"""What every bridge makes of a foreign file: benchmarks with the samples of one process each.

It must not know any tool's format.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import harness
from harness.metrics import Metric
from harness.reading import Reading
from harness.store.record import CaseRecord, Failure, Figure, PointRecord, RoundRecord, RunRecord
from harness.store.samples import Samples

__all__ = ["Benchmark", "ForeignRun", "SamplesByRound", "assembled"]

SamplesByRound = dict[tuple[str, int], list[Samples]]


@dataclass(frozen=True)
class Benchmark:
    """One benchmark as one process measured it."""

    name: str
    """What matches it with the same benchmark of another file."""
    metric: Metric
    values: Sequence[float]
    """In the metric's unit; empty where it failed."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """All else that the file says of it."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What must be the same for two figures to be comparable."""
    failure: str | None = None


@dataclass(frozen=True)
class ForeignRun:
    """What one file holds: one process, or several where the tool starts one per sample."""

    tool: str
    made_at: str
    """UTC, ISO 8601."""
    environment: Mapping[str, Any]
    processes: Sequence[Sequence[Benchmark]]
    text: bytes


def assembled(files: Sequence[ForeignRun], suite: str) -> tuple[RunRecord, SamplesByRound]:
    """Make one run of files of one tool; each process becomes a round.

    Args:
        files: At least one, in the order their processes ran.
        suite: The run's suite: what the benchmarks are of.
    """
    tool = files[0].tool
    processes = [process for file in files for process in file.processes]
    samples: SamplesByRound = {}
    cases: dict[str, CaseRecord] = {}
    metrics: dict[str, Metric] = {}
    for number, process in enumerate(processes):
        for found in process:
            metrics.setdefault(found.metric.name, found.metric)
            case = cases.setdefault(found.name, _case(tool, found))
            case.rounds.append(_round(number, files[0].made_at, found))
            row = Samples("", "measure", 0, found.metric.name, [float(v) for v in found.values])
            samples[found.name, number] = [row] if found.values else []
    for case in cases.values():
        _summarise(case, metrics, samples)
    digest = hashlib.sha256(b"".join(file.text for file in files)).hexdigest()[:6]
    made = files[0].made_at
    stamp = made[:19].replace("-", "").replace(":", "").replace("T", "-")
    record = RunRecord(
        id=f"{stamp}-{suite}-{digest}",
        suite=suite,
        suite_text="",
        suite_resolved={"name": suite, "imported_from": tool},
        status="finished",
        created_at=made,
        finished_at=made,
        harness_version=harness.__version__,
        seed=0,
        rounds=len(processes),
        order=[(r.round, case.id) for case in cases.values() for r in case.rounds],
        environment=dict(files[0].environment),
        metrics=list(metrics.values()),
        cases=list(cases.values()),
    )
    return record, samples


def _case(tool: str, found: Benchmark) -> CaseRecord:
    return CaseRecord(
        id=found.name,
        model="",
        backend=tool,
        scenario=tool,
        scenario_version=1,
        scenario_options=dict(found.options),
    )


def _round(number: int, made_at: str, found: Benchmark) -> RoundRecord:
    failed = found.failure is not None
    return RoundRecord(
        round=number,
        status="failed" if failed else "done",
        started_at=made_at,
        order=number,
        failure=Failure(phase="measure", reason=found.failure or "") if failed else None,
        points=[
            PointRecord(
                label="", batch=1, context=0, warmup_iterations=0,
                measured_iterations=len(found.values), steady="not known", stopped="not known",
            )
        ],
        facts=dict(found.facts),
    )  # fmt: skip


def _summarise(case: CaseRecord, metrics: Mapping[str, Metric], samples: SamplesByRound) -> None:
    """Give a case its status, and its headline as our own runs have it."""
    from harness.stats.intervals import between_processes

    done = [r.round for r in case.rounds if r.status == "done"]
    case.status = "done" if done else "failed"
    rows = [row for number in done for row in samples[case.id, number]]
    for name in dict.fromkeys(row.metric for row in rows):
        centres = _centres(row.values for row in rows if row.metric == name)
        reading: Reading = between_processes(centres)
        counted = sum(len(row.values) for row in rows if row.metric == name)
        if reading.value is not None:
            reading = reading.model_copy(update={"n": counted})
        statistic = metrics[name].headline
        case.figures.append(Figure(metric=name, statistic=statistic, reading=reading))


def _centres(groups: Iterable[Sequence[float]]) -> list[float]:
    return [float(np.median(values)) for values in groups if len(values)]
