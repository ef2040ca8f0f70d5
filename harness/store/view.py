"""A run as its readers see it: which lines stand under a case, in which order, in which words.

The terminal's table, the page and the Markdown all show this; none of them picks figures itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.cautions import Caution, CautionKind
from harness.metrics import Metric
from harness.reading import Reading
from harness.shown import number, quantity, share, spread
from harness.store.record import CaseRecord, CheckRecord, Figure, QuantityRecord, RunRecord
from harness.store.simulated import SIMULATED

__all__ = [
    "Line",
    "caution_words",
    "cautions_of",
    "check_words",
    "environment_words",
    "lines",
    "machine_words",
    "marks_of",
    "run_words",
    "why_no_figures",
]


@dataclass(frozen=True)
class Line:
    """One metric at one point: the headline and the statistics beside it."""

    metric: Metric
    point: str
    figures: Mapping[str, Figure]
    """By statistic; the headline is among them."""

    @property
    def headline(self) -> Figure:
        """The figure that stands for the metric."""
        return self.figures.get(self.metric.headline) or next(iter(self.figures.values()))

    @property
    def value(self) -> str:
        """`27.4 ms`, or a dash where the value is absent."""
        return self.shown(self.headline.reading)

    @property
    def spread(self) -> str:
        """`± 1.2 %`; empty where there is no interval."""
        return spread(self.headline.reading)

    @property
    def share(self) -> str:
        """`MBU 62 %`; empty where the metric has no ceiling."""
        use = self.headline.utilization
        if use is None or use.reading.value is None:
            return ""
        return f"{use.name} {share(use.reading.value)}"

    @property
    def absent(self) -> str | None:
        """Why the headline has no value."""
        return self.headline.reading.reason

    def tail(self, statistic: str) -> str:
        """Return another statistic, `33.0 ms`; a dash where absent, empty where not declared."""
        figure = self.figures.get(statistic)
        if figure is None or statistic == self.headline.statistic:
            return ""
        return self.shown(figure.reading)

    def shown(self, reading: Reading) -> str:
        """Return a reading of this metric with its unit."""
        return "–" if reading.value is None else quantity(reading.value, self.metric.unit)


def lines(
    case: CaseRecord, record: RunRecord, *, only: Iterable[str] = (), rates: bool = False
) -> list[Line]:
    """Return a case's lines in the order in which its scenario declares its metrics.

    Args:
        case: The case.
        record: Its run, which has the definitions.
        only: Metrics to show; all where empty.
        rates: Whether to show rates that stand as MBU or MFU beside another metric anyway.
    """
    known = {metric.name: metric for metric in record.metrics}
    behind = {m.achieved for m in record.metrics if m.achieved in known}
    found: dict[tuple[str, str], dict[str, Figure]] = {}
    for figure in case.figures:
        found.setdefault((figure.metric, figure.point), {})[figure.statistic] = figure
    order = {name: place for place, name in enumerate(known)}
    chosen = set(only)
    shown = [
        Line(known.get(name) or _undeclared(name), point, figures)
        for (name, point), figures in found.items()
        if (name in chosen if chosen else rates or name not in behind)
    ]
    return sorted(shown, key=lambda line: order.get(line.metric.name, len(order)))


def _undeclared(name: str) -> Metric:
    return Metric(name=name, unit="", better="neither", definition="not declared", pooled="")


def check_words(case: CaseRecord) -> str:
    """Return how the tokens compare with the reference: `tokens agree (96 of 96 positions)`."""
    checks = [c for r in case.rounds for c in (r.check, r.audit) if c is not None]
    if not checks:
        return "not checked"
    worst = min(checks, key=lambda c: (c.passed, c.top1_agreement))
    audited = "audited" if any(r.audit for r in case.rounds) else "not audited"
    if not worst.passed:
        return f"tokens wrong: {_figures_of(worst)}" + (f"; {worst.detail}" if worst.detail else "")
    if worst.top1_agreement == 1.0:
        return f"tokens agree, {audited}"
    return f"tokens agree within tolerance, {_figures_of(worst)}, {audited}"


def _figures_of(check: CheckRecord) -> str:
    return (
        f"top-1 {100 * check.top1_agreement:.3g} % of {check.positions} positions, "
        f"logits off by up to {number(check.max_logit_error)} σ"
    )


def cautions_of(case: CaseRecord) -> list[Caution]:
    """Return a case's doubts; those of its rounds where it was not summarised."""
    return list(dict.fromkeys(case.cautions or [c for r in case.rounds for c in r.cautions]))


def caution_words(caution: Caution) -> str:
    """Return what was seen, where, and the next step."""
    seen_in = f"round {caution.round}" if caution.round is not None else None
    metric = None if caution.metric and caution.metric in caution.message else caution.metric
    about = ", ".join(filter(None, [metric, caution.point, seen_in]))
    return f"{caution.message}{f' ({about})' if about else ''}: {caution.next_step}"


def machine_words(case: CaseRecord) -> str:
    """Return what the machine did while a case was measured: `worker 1.9 cores, others 0.02, …`.

    Empty where nothing watched.
    """
    phases = [p for p in case.telemetry if p.phase == "measure"]
    seconds = sum(p.seconds for p in phases)
    if not seconds:
        return ""
    words = []
    for device, name, said, kind in _SHOWN:
        found = [
            (p.seconds, q)
            for p in phases
            for q in p.quantities
            if q.quantity == name and (q.device == device or (device == "*" and q.device))
        ]
        for each in dict.fromkeys(q.device for _, q in found):
            same = [(s, q) for s, q in found if q.device == each]
            value = _over_phases(same, kind)
            if value is not None:
                words.append(said.format(value=quantity(value, _UNITS.get(kind, same[0][1].unit))))
    if any(word.startswith("power ") for word in words):  # instant power says more
        words = [word for word in words if not word.endswith("(1 s averages)")]
    missed = sum(p.missed for p in phases)
    if missed:
        words.append(f"{missed} readings missed")
    return ", ".join(words)


_SHOWN = (
    ("worker", "cpu_s", "worker {value}", "cores"),
    ("", "others_busy_s", "others {value}", "cores"),
    ("worker", "resident_bytes", "up to {value} resident", "highest"),
    ("*", "sm_clock_mhz", "clock {value}", "mean"),
    ("*", "power_instant_w", "power {value}", "mean"),
    ("*", "power_average_w", "mean power {value} (1 s averages)", "mean"),
    ("*", "temperature_c", "up to {value}", "highest"),
)
"""Device (`*` for any that is named), quantity, words, and which of its figures."""
_UNITS = {"cores": "cores"}


def _over_phases(found: Sequence[tuple[float, QuantityRecord]], kind: str) -> float | None:
    """Return one value for a quantity over several phases; None where one of them has none."""
    if kind == "highest":
        seen = [q.highest for _, q in found if q.highest is not None]
        return max(seen, default=None)
    seconds = sum(s for s, _ in found)
    total = 0.0
    for length, q in found:
        value = q.total if kind == "cores" else q.mean
        if value is None:
            return None
        total += value if kind == "cores" else value * length
    return total / seconds


def why_no_figures(case: CaseRecord) -> str | None:
    """Return why a case has no figures, in one line; None where it has."""
    failure = case.failure
    if case.status == "done":
        return None
    if case.status == "incorrect":
        return f"incorrect: no speed is given; {check_words(case)}"
    if failure is None:
        return "not run yet" if case.status == "pending" else case.status
    how = failure.signal or (f"exit {failure.exit_code}" if failure.exit_code else "")
    return f"{case.status} in {failure.phase}: {failure.reason}" + (f" ({how})" if how else "")


def run_words(record: RunRecord) -> str:
    """Return `default, 2026-11-24 04:15 UTC, 3 rounds`, and what happened to the run."""
    words = [
        record.suite,
        f"{record.created_at[:16].replace('T', ' ')} UTC",
        f"{record.rounds} round{'' if record.rounds == 1 else 's'}",
    ]
    if record.resumed_at:
        words.append(f"resumed {len(record.resumed_at)}×")
    if record.status != "finished":
        done = sum(len(case.rounds) for case in record.cases)
        words.append(f"{record.status} after {done} of {len(record.order)} visits")
    return ", ".join(words)


def environment_words(record: RunRecord) -> str:
    """Return `AMD EPYC 7B13, 2 cores, 8 GiB, torch 2.13.0`: what is known of it."""
    facts = record.environment
    cpu, memory = _at(facts, "cpu", "model"), _at(facts, "memory", "total")
    cores = _at(facts, "cpu", "affinity") or _at(facts, "cpu", "logical_cores")
    cores = len(cores) if isinstance(cores, list) else cores
    gpus = facts.get("gpus")
    words = [
        str(cpu) if cpu else "",
        f"{cores} cores" if isinstance(cores, int) else "",
        quantity(memory, "bytes") if isinstance(memory, int | float) else "",
        *(str(gpu.get("name")) for gpu in gpus or [] if isinstance(gpu, dict) and gpu.get("name")),
        f"torch {_at(facts, 'packages', 'torch')}" if _at(facts, "packages", "torch") else "",
        f"harness {record.harness_version}",
    ]
    return ", ".join(word for word in words if word)


def _at(facts: Any, *keys: str) -> Any:
    """Look deep into a fingerprint; None where something is absent."""
    for key in keys:
        facts = facts.get(key) if isinstance(facts, dict) else None
    return None if isinstance(facts, dict) and "absent" in facts else facts


def marks_of(case: CaseRecord, record: RunRecord) -> list[str]:
    """Return in a word each what must stand beside every figure of a case."""
    kinds = {caution.kind for caution in cautions_of(case)}
    marks = [SIMULATED] if record.simulated else []
    marks += dict.fromkeys(word for kind, word in _MARKS.items() if kind in kinds)
    marks = list(dict.fromkeys(marks))
    if record.resumed_at:
        marks.append("resumed")
    if record.status == "interrupted":
        marks.append("interrupted")
    if case.status == "incorrect":
        marks.append("incorrect")
    return marks


_MARKS = {
    CautionKind.SIMULATED: SIMULATED,
    CautionKind.THROTTLED: "throttled",
    CautionKind.FREQUENCY: "clocks not steady",
    CautionKind.CLOCKS: "clocks not steady",
}
