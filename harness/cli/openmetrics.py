"""A run's figures as OpenMetrics text, for who already watches Prometheus.

One family per metric, one sample per statistic and end of its interval; the run's start is the
timestamp. Format: the OpenMetrics specification 1.0, prometheus.io/docs/specs/om.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime

from harness.metrics import Metric
from harness.store.record import CaseRecord, Figure, RunRecord

__all__ = ["openmetrics"]

_NAME = re.compile(r"[^a-zA-Z0-9_]")


def openmetrics(record: RunRecord) -> str:
    """Return every figure of a run; those that are absent are left out, as the format wants it."""
    at = datetime.fromisoformat(record.created_at).timestamp()
    lines: list[str] = []
    for metric in record.metrics:
        samples = list(_samples(metric, record))
        if not samples:
            continue
        name = _family(metric)
        lines += [f"# TYPE {name} gauge", f"# HELP {name} {_help(metric.definition)}"]
        lines += [f"{name}{{{labels}}} {value!r} {at:.3f}" for labels, value in samples]
    lines += ["# TYPE inference_case_ok gauge", "# HELP inference_case_ok Whether it has figures."]
    lines += [
        f"inference_case_ok{{{_labels(case, record)}}} {int(case.status == 'done')} {at:.3f}"
        for case in record.cases
    ]
    return "\n".join([*lines, "# EOF", ""])


def _family(metric: Metric) -> str:
    return f"inference_{_NAME.sub('_', metric.name)}"


def _samples(metric: Metric, record: RunRecord) -> Iterator[tuple[str, float]]:
    for case in record.cases:
        for figure in case.figures:
            if figure.metric == metric.name:
                yield from _ends(figure, _labels(case, record))


def _ends(figure: Figure, labels: str) -> Iterator[tuple[str, float]]:
    reading = figure.reading
    common = f"{labels},point={_quoted(figure.point)},statistic={_quoted(figure.statistic)}"
    for end, value in (("", reading.value), ("low", reading.low), ("high", reading.high)):
        if value is not None:
            yield f"{common},interval={_quoted(end)}", float(value)


def _labels(case: CaseRecord, record: RunRecord) -> str:
    pairs = {
        "run": record.id,
        "suite": record.suite,
        "case": case.id,
        "model": case.model,
        "backend": case.backend,
        "scenario": case.scenario,
        "dtype": str(case.backend_options.get("dtype", "")),
    }
    return ",".join(f"{name}={_quoted(value)}" for name, value in pairs.items())


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _help(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
