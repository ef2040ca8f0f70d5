"""A run to try a report on: every status, cautions, sweeps, absent figures. Nothing is measured.

The figures are drawn from a seeded generator around declared centres; they say nothing about any
machine.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Any, Literal

from harness.cautions import CautionKind, caution
from harness.metrics import Metric
from harness.reading import Reading
from harness.store.record import (
    CaseRecord,
    CheckRecord,
    Failure,
    Figure,
    PhaseRecord,
    PointRecord,
    RoundRecord,
    RunRecord,
    Utilization,
)
from harness.store.samples import Samples

__all__ = ["example_metrics", "example_record", "example_samples", "scaled_record"]

_ROUNDS = 3
_SUITE = """\
name = "default"

[[model]]
name = "smollm2-135m"

[[backend]]
name = "eager"

[[scenario]]
name = "latency"

[[scenario]]
name = "throughput"

[[scenario]]
name = "memory"
rounds = 1

[sweep]
"backend.dtype" = ["float32", "bfloat16"]
"""

Status = Literal["done", "incorrect", "failed", "unavailable"]


def example_metrics() -> list[Metric]:
    """Return definitions such as scenarios declare them."""
    tails: Any = ("p50", "p90", "p99")
    return [
        Metric(
            name="ttft_ms", unit="ms", better="lower", statistics=tails, pooled="per request",
            definition="From the submission of a request to its first token on the host.",
            achieved="prefill_flop_per_s",
        ),
        Metric(
            name="itl_ms", unit="ms", better="lower", statistics=tails, pooled="per gap",
            primary=True, achieved="decode_bytes_per_s",
            definition="Time between two tokens on the host; the first token is left out.",
        ),
        Metric(
            name="e2e_ms", unit="ms", better="lower", statistics=tails, pooled="per request",
            definition="From the submission of a request to its last token on the host.",
        ),
        Metric(
            name="decode_bytes_per_s", unit="bytes/s", better="higher", pooled="per request",
            ceiling="read_bytes_per_s",
            definition="Bytes of weights and cache that decoding must read, over its time.",
        ),
        Metric(
            name="prefill_flop_per_s", unit="FLOP/s", better="higher", pooled="per request",
            ceiling="gemm_flop_per_s",
            definition="Floating-point operations that the prompt needs, over its time.",
        ),
        Metric(
            name="decode_tokens_per_s", unit="tokens/s", better="higher", pooled="per batch",
            primary=True, achieved="decode_bytes_per_s",
            definition="Tokens of all rows over the time of an unobserved decode loop.",
        ),
        Metric(
            name="peak_bytes", unit="bytes", better="lower", statistics=("once",), primary=True,
            pooled="per process", definition="The most memory in use over prefill and decode.",
        ),
    ]  # fmt: skip


def example_record(
    *, run_id: str = "20261124-041502-default-3f2a", statuses: dict[str, Status] | None = None
) -> RunRecord:
    """Return the record of a finished run of three scenarios on eager in two precisions.

    Args:
        run_id: The run's id.
        statuses: Case id to what became of it, where that is not `done`.
    """
    cases = [
        _case(dtype, scenario)
        for dtype in ("float32", "bfloat16")
        for scenario in ("latency", "throughput", "memory")
    ]
    for case in cases:
        _give_status(case, (statuses or {}).get(case.id, "done"))
    cases[0].cautions.append(
        caution(CautionKind.OTHERS_LOAD, "others used 0.31 cores while it was measured", round=1)
    )
    return RunRecord(
        id=run_id,
        suite="default",
        suite_text=_SUITE,
        suite_resolved={"name": "default", "run": {"rounds": _ROUNDS}},
        status="finished",
        created_at="2026-11-24T04:15:02+00:00",
        finished_at="2026-11-24T04:17:21+00:00",
        harness_version="0.1.0",
        command=["harness", "run", "default", "--report", "html"],
        seed=0,
        rounds=_ROUNDS,
        order=[(r, case.id) for r in range(_ROUNDS) for case in cases],
        environment={
            "cpu": {"model": "AMD EPYC 7B13", "logical_cores": 2, "physical_cores": 1},
            "memory": {"total": 8 * 2**30},
            "packages": {"torch": "2.13.0", "numpy": "2.4.6"},
            "gpus": {"absent": "no NVIDIA driver"},
            "os": {"kernel": "6.1.0"},
        },
        metrics=example_metrics(),
        cases=cases,
    )


def example_samples(case: CaseRecord, round_number: int) -> Iterator[Samples]:
    """Yield samples as a worker would have reported them for one round of a case."""
    noise = random.Random(f"{case.id}:{round_number}")  # noqa: S311 - made-up samples
    for point in case.rounds[0].points:
        for iteration in range(point.warmup_iterations + point.measured_iterations):
            phase: Any = "warmup" if iteration < point.warmup_iterations else "measure"
            gaps = [27.4 * math.exp(noise.gauss(0, 0.02)) for _ in range(8)]
            yield Samples(point.label, phase, iteration, "itl_ms", gaps)
            yield Samples(point.label, phase, iteration, "ttft_ms", [noise.uniform(95, 110)])


def scaled_record(record: RunRecord, factor: float) -> RunRecord:
    """Return a copy in which every figure, interval included, is `factor` times what it was."""
    copy = record.model_copy(deep=True)
    for figure in (f for case in copy.cases for f in case.figures):
        known = figure.reading.model_dump(exclude_none=True)
        ends = {name: known[name] * factor for name in ("value", "low", "high") if name in known}
        figure.reading = Reading(**known | ends)
    return copy


_CENTRES: dict[str, dict[str, dict[str, float]]] = {
    "latency": {"": {"ttft_ms": 104.0, "itl_ms": 27.4, "e2e_ms": 1830.0}},
    "throughput": {
        "batch=1": {"decode_tokens_per_s": 37.1},
        "batch=4": {"decode_tokens_per_s": 121.0},
    },
    "memory": {"": {"peak_bytes": 690e6}},
}
_GAIN = {"float32": 1.0, "bfloat16": 1.78}


def _case(dtype: str, scenario: str) -> CaseRecord:
    case = CaseRecord(
        id=f"smollm2-135m/eager[dtype={dtype}]/{scenario}",
        model="smollm2-135m",
        backend="eager",
        scenario=scenario,
        scenario_version=1,
        model_digest="seeded:smollm2-135m:0:1",
        backend_options={"dtype": dtype, "threads": 2, "device": "cpu", "sdpa": "auto"},
        scenario_options={"prompt_tokens": 128, "new_tokens": 64},
        status="done",
    )
    definitions = {m.name: m for m in example_metrics()}
    for point, centres in _CENTRES[scenario].items():
        for name, centre in centres.items():
            metric = definitions[name]
            gain = _GAIN[dtype] if metric.better == "higher" else 1 / _GAIN[dtype]
            case.figures += _figures(metric, point, centre * gain)
    case.rounds = [_round(case, number) for number in range(_ROUNDS)]
    return case


def _figures(metric: Metric, point: str, centre: float) -> Iterator[Figure]:
    if metric.headline == "once":
        exact = Reading(value=centre, n=1, processes=1, no_interval="exact, one process")
        yield Figure(metric=metric.name, point=point, statistic="once", reading=exact)
        return
    for statistic, factor, width in (("p50", 1.0, 0.012), ("p90", 1.06, 0.03)):
        value = centre * factor
        low, high = value * (1 - width), value * (1 + width)
        reading = Reading(value=value, low=low, high=high, n=378, processes=_ROUNDS)
        use = None
        if metric.achieved and statistic == "p50":
            bandwidth = metric.achieved == "decode_bytes_per_s"
            use = Utilization(
                name="MBU" if bandwidth else "MFU",
                reading=Reading(value=0.62 if bandwidth else 0.41, low=0.60, high=0.64)
                if bandwidth
                else Reading(value=0.41, no_interval="one process"),
            )
        if statistic in metric.statistics:
            yield Figure(
                metric=metric.name, point=point, statistic=statistic, reading=reading,
                utilization=use,
            )  # fmt: skip
    if "p99" in metric.statistics:
        reason = "needs 368 samples, has 120: raise run.max_seconds"
        absent = Reading.absent(reason)
        if metric.pooled == "per gap":
            absent = Reading(value=centre * 1.21, low=centre * 1.15, high=centre * 1.4, n=378)
        yield Figure(metric=metric.name, point=point, statistic="p99", reading=absent)


def _round(case: CaseRecord, number: int) -> RoundRecord:
    check = CheckRecord(
        passed=True, positions=96, top1_agreement=1.0, max_logit_error=0.021,
        mean_logit_error=0.004, max_kl=0.0003, tolerance={"top1_agreement": 0.98},
    )  # fmt: skip
    start = 1_000_000_000 * (number + 1)
    return RoundRecord(
        round=number, status="done", pid=4000 + number, started_at="2026-11-24T04:15:09+00:00",
        order=number, command=["python", "-P", "-m", "harness.engine.worker", "task.json"],
        check=check, audit=check,
        phases=[PhaseRecord(name="load", start_ns=start, end_ns=start + 400_000_000)],
        points=[
            PointRecord(
                label=label, batch=1, context=192, warmup_iterations=2, measured_iterations=6,
                steady="warmup", stopped="target", half_width=0.011, lag_s=1e-5,
            )
            for label in _CENTRES[case.scenario]
        ],
        ceilings={"read_bytes_per_s": Reading(value=31.2e9, no_interval="one process")},
        observer_ns=310.0,
    )  # fmt: skip


def _give_status(case: CaseRecord, status: Status) -> None:
    case.status = status
    if status == "done":
        return
    case.figures = []
    for each in case.rounds:
        each.status = status
        if status == "incorrect" and each.check:
            each.check = each.check.model_copy(
                update={
                    "passed": False,
                    "top1_agreement": 0.51,
                    "max_logit_error": 4.2,
                    "detail": "prompt 2, position 17: token 311, the reference has 284",
                }
            )
            each.audit = None
        else:
            each.check = each.audit = None
            each.points = []
            each.failure = Failure(
                phase="measure" if status == "failed" else "load",
                reason="the worker was killed"
                if status == "failed"
                else "cuda is not available: torch was built without it",
                signal="SIGSEGV" if status == "failed" else None,
                log_tail="Fatal Python error: Segmentation fault\n  File decoder.py, line 88"
                if status == "failed"
                else "",
            )
