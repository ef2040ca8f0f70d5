"""Two sides to try a judgement on: runs with declared figures, in memory. Nothing is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from harness.gate.evidence import Evidence, Key, Series
from harness.metrics import Metric
from harness.store.record import (
    BlockRecord,
    CaseRecord,
    DuetRecord,
    RoundRecord,
    RunRecord,
)
from harness.testing.runs import example_metrics

__all__ = ["CASE", "as_duet", "side"]

CASE = "tiny/eager[dtype=float32]/latency"


def side(
    run_id: str,
    figures: Mapping[str, Sequence[ArrayLike]],
    *,
    case: Mapping[str, Any] | None = None,
    environment: Mapping[str, Any] | None = None,
    digest: str = "0a1b2c3d",
) -> Evidence:
    """Return a run of one case.

    Args:
        run_id: Its id.
        figures: Metric (one of `example_metrics`) to the samples of each process.
        case: Fields of the case's record that are otherwise.
        environment: The fingerprint.
        digest: Of the tokens it made.
    """
    metrics = {metric.name: metric for metric in example_metrics()}
    rounds = max((len(processes) for processes in figures.values()), default=0)
    record = CaseRecord(
        id=CASE,
        model="tiny",
        backend="eager",
        scenario="latency",
        scenario_version=1,
        model_digest="seeded:tiny:0:1",
        backend_options={"dtype": "float32", "threads": 2, "device": "cpu"},
        scenario_options={"prompt_tokens": 128, "new_tokens": 64},
        status="done",
        rounds=[_round(number, digest) for number in range(rounds)],
    ).model_copy(update=dict(case or {}))
    return Evidence(
        RunRecord(
            id=run_id,
            suite="suite",
            suite_text="",
            suite_resolved={"name": "suite"},
            status="finished",
            created_at="2026-11-24T04:15:02+00:00",
            harness_version="0.1.0",
            seed=0,
            rounds=rounds,
            environment=dict(environment or {"cpu": {"model": "EPYC"}}),
            metrics=list(metrics.values()),
            cases=[record],
        ),
        {
            Key(record.id, name, ""): _series(metrics[name], processes)
            for name, processes in figures.items()
            if record.status == "done"
        },
    )


def as_duet(
    base: Evidence, cand: Evidence, interleaved: Literal["generations", "processes"] = "generations"
) -> tuple[Evidence, Evidence]:
    """Return the two as sides of a duet whose samples are blocks in turn, ABBA.

    Sample i of a process is its block i; each round has as many blocks as it has samples.
    """
    for number, (own, other) in enumerate(((base, cand), (cand, base))):
        own.record.duet = DuetRecord(
            side="base" if number == 0 else "cand",
            label="",
            partner=other.record.id,
            interleaved=interleaved,
        )
        if interleaved == "processes":
            continue
        size = max((len(p) for s in own.series.values() for p in s.processes), default=0)
        for case in own.record.cases:
            for each in case.rounds:
                each.blocks = [_block(i, 2 * i + (number ^ (i % 2))) for i in range(size)]
    return base, cand


def _round(number: int, digest: str) -> RoundRecord:
    return RoundRecord(
        round=number,
        status="done",
        started_at="2026-11-24T04:15:09+00:00",
        order=number,
        facts={"tokens_digest": digest},
    )


def _series(metric: Metric, processes: Sequence[ArrayLike]) -> Series:
    arrays = tuple(np.asarray(p, dtype=np.float64).ravel() for p in processes)
    iterations = tuple(np.arange(a.size) for a in arrays)
    return Series(metric, tuple(range(len(arrays))), arrays, iterations)


def _block(first: int, place: int) -> BlockRecord:
    return BlockRecord(
        place=place, first_iteration=first, iterations=1, start_ns=place, end_ns=place + 1,
        probe_before=10e9, probe_after=10e9,
    )  # fmt: skip
