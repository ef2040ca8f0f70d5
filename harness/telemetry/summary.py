"""Series and phases to what stands in `run.json`: per phase and quantity, over a case's rounds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from harness.store.record import (
    CaseRecord,
    PhaseTelemetry,
    QuantityRecord,
    RoundRecord,
    RoundTelemetry,
)
from harness.store.telemetry import SeriesKey
from harness.telemetry.cut import CutError, Series, increase, mean

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Watch", "is_core", "phase_telemetry", "summarise_case", "watches"]

_SUMMARISED = ("load", "prepare", "verify", "warm-up", "measure")
_ONE_CORE = r"cpu\d+"


@dataclass(frozen=True)
class Watch:
    """One phase of one round, and what was read around it."""

    start_ns: int
    end_ns: int
    series: Mapping[SeriesKey, Series]
    missed: int
    why_absent: Mapping[SeriesKey, str] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """How long the phase took."""
        return (self.end_ns - self.start_ns) / 1e9


def watches(
    record: RoundRecord,
    series: Mapping[SeriesKey, Series],
    why_absent: Mapping[SeriesKey, str],
) -> Iterable[tuple[tuple[str, str], Watch]]:
    """Yield (phase, point) and what was read around it, for each phase of a round."""
    for phase in record.phases:
        yield (
            (phase.name, phase.point),
            Watch(
                phase.start_ns,
                phase.end_ns,
                series,
                missed_in(record.telemetry, phase.start_ns, phase.end_ns),
                why_absent,
            ),
        )


def missed_in(watched: RoundTelemetry | None, start_ns: int, end_ns: int) -> int:
    """Return how many ticks of a phase passed without a reading."""
    missed = 0
    for gap in watched.gaps if watched else ():
        period_ns = (gap.to_ns - gap.from_ns) / max(gap.ticks - 1, 1)
        due = np.round(gap.from_ns + period_ns * np.arange(gap.ticks))
        missed += int(np.sum((due >= start_ns) & (due < end_ns)))
    return missed


def phase_telemetry(phase: str, point: str, found: Sequence[Watch]) -> PhaseTelemetry:
    """Return what a phase's quantities were over its rounds."""
    keys = dict.fromkeys(key for watch in found for key in (*watch.series, *watch.why_absent))
    seconds = sum(watch.seconds for watch in found)
    times = [_fast_readings(watch) for watch in found]
    return PhaseTelemetry(
        phase=phase,
        point=point,
        rounds=len(found),
        seconds=seconds,
        missed=sum(watch.missed for watch in found),
        rate_hz=sum(times) / seconds if seconds > 0 else 0.0,
        quantities=[_quantity(key, found) for key in keys],
    )


def is_core(device: str) -> bool:
    """Whether readings are of one core among many."""
    return bool(re.fullmatch(_ONE_CORE, device))


def _fast_readings(watch: Watch) -> int:
    """How often the quantity that was read most often was read within the phase."""
    counts = [watch_slice(series, watch) for series in watch.series.values()]
    return max((s.stop - s.start for s in counts), default=0)


def watch_slice(series: Series, watch: Watch) -> slice:
    """Return which readings lie in the phase."""
    return series.within(watch.start_ns, watch.end_ns)


def _quantity(key: SeriesKey, found: Sequence[Watch]) -> QuantityRecord:
    base = QuantityRecord(
        source=key.source, device=key.device, quantity=key.quantity, unit=key.unit,
        kind=key.kind, n=0,
    )  # fmt: skip
    cut = increase if key.kind == "counter" else mean
    value = bound = seconds = 0.0
    inside: list[np.ndarray] = []
    for watch in found:
        series = watch.series.get(key)
        try:
            if series is None or not len(series.value):
                raise CutError(watch.why_absent.get(key, "it was never read"))
            one = cut(series, watch.start_ns, watch.end_ns)
        except CutError as error:
            return base.model_copy(update={"reason": str(error)})
        weight = 1.0 if key.kind == "counter" else watch.seconds
        value += weight * one.value
        bound += weight * one.bound
        seconds += watch.seconds
        inside.append(series.value[watch_slice(series, watch)])
    seen = np.concatenate(inside)
    figures: dict[str, float | int | None] = {"n": len(seen)}
    if key.kind != "counter":
        figures["lowest"] = _rounded(seen.min()) if len(seen) else None
        figures["highest"] = _rounded(seen.max()) if len(seen) else None
    if key.kind == "counter":
        figures |= {"total": _rounded(value), "bound": _rounded(bound)}
    elif key.kind == "gauge":
        figures |= {"mean": _rounded(value / seconds), "bound": _rounded(bound / seconds)}
    return base.model_copy(update=figures)


def _rounded(value: float) -> float:
    """Six digits: run.json holds thousands of these."""
    return float(f"{value:.6g}")


def summarise_case(case: CaseRecord, frame: pd.DataFrame) -> list[PhaseTelemetry]:
    """Return a case's phases, from the readings of its rounds.

    A machine has hundreds of cores and a worker ten phases: each core, and phases that no figure
    comes from, are in `telemetry.parquet` alone.

    Args:
        case: With its rounds.
        frame: Readings of the run, as `Run.telemetry`.
    """
    found: dict[tuple[str, str], list[Watch]] = {}
    frame = frame[~frame["device"].astype(str).str.fullmatch(_ONE_CORE)]
    for record in case.rounds:
        mine = frame[(frame["case"] == case.id) & (frame["round"] == record.round)]
        series, absent = _series(mine)
        if not series and not absent:
            continue
        for key, watch in watches(record, series, absent):
            if key[0] in _SUMMARISED:
                found.setdefault(key, []).append(watch)
    return [phase_telemetry(*key, rounds) for key, rounds in found.items()]


def _series(frame: pd.DataFrame) -> tuple[dict[SeriesKey, Series], dict[SeriesKey, str]]:
    """Return series by quantity, and the last reason of those that never had a value."""
    series: dict[SeriesKey, Series] = {}
    absent: dict[SeriesKey, str] = {}
    names = ["source", "device", "quantity", "unit", "kind"]
    for key, rows in frame.groupby(names, observed=True, sort=False):
        here = rows["value"].notna()
        known = SeriesKey(*map(str, key))
        if here.any():
            kept = rows[here]
            series[known] = Series(
                kept["time_ns"].to_numpy(np.int64), kept["value"].to_numpy(np.float64)
            )
        else:
            absent[known] = str(rows["reason"].iloc[-1])
    return series, absent
