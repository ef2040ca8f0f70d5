"""What leaving disturbed samples out gives, on a throttle whose truth is known: no clock runs.

    python -m benchmarks.disturbance

Rounds of iterations that take the same time, but for noise, and longer while the device throttles.
A sampler looks at the clock-event reasons 20 times a second; the engine's own `judge` marks and
drops. The noise is the spread of the rounds' medians: what an interval is made of.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from statistics import fmean, median, stdev

import numpy as np

from harness.engine.disturbance import judge
from harness.engine.events import SampleRow
from harness.engine.watching import Seen
from harness.spec import TelemetrySpec
from harness.store.record import PhaseRecord, PointRecord, RoundRecord, RoundTelemetry
from harness.store.telemetry import SeriesKey, Telemetry

__all__ = ["Noise", "noise"]

_POWER_CAP = 4.0
_TICK_NS = 50_000_000
_ITERATION_MS = 40.0
_SLOWER = 1.4
"""How many times as long the work takes while the device throttles."""
_SHARE = 0.3
"""Of the time it throttles, in a round that is hot; a cool one has none."""
_SPELL_S = 0.5
_ITERATIONS = 60


@dataclass(frozen=True)
class Noise:
    """What rounds gave under one way to deal with disturbances."""

    medians: tuple[float, ...]
    """Milliseconds an iteration, one a round."""
    kept: tuple[int, ...]
    """Samples that count, one a round."""

    @property
    def spread(self) -> float:
        """Standard deviation of the rounds' medians, relative."""
        return stdev(self.medians) / fmean(self.medians)

    @property
    def off(self) -> float:
        """How far their mean is from the time that the work takes undisturbed, relative."""
        return fmean(self.medians) / _ITERATION_MS - 1


def noise(action: str, rounds: int = 200, *, keep: float = 0.5, seed: int = 0) -> Noise:
    """Return what the same rounds give under `flag` or `discard`."""
    draw = Random(seed)
    spec = TelemetrySpec.model_validate({"on_disturbance": action, "keep": keep})
    medians, kept = [], []
    for number in range(rounds):
        record, rows, seen = _round(draw, number)
        judged = judge(record, rows, seen, spec, least=5)
        values = [v for row in judged.rows if row.phase == "measure" for v in row.values]
        medians.append(median(values))
        kept.append(len(values))
    return Noise(tuple(medians), tuple(kept))


def _round(draw: Random, number: int) -> tuple[RoundRecord, list[SampleRow], Seen]:
    """Play one round: when it throttled, how long each iteration took, what the sampler saw."""
    spells = list(_spells(draw)) if draw.random() < 0.5 else []
    starts_ns, rows, at_s = [0], [], 0.0
    for iteration in range(_ITERATIONS):
        work_s = _ITERATION_MS / 1e3 * math.exp(draw.gauss(0, 0.01))
        took_s = _through(at_s, work_s, spells)
        at_s += took_s
        starts_ns.append(round(at_s * 1e9))
        rows.append(
            SampleRow(
                point="", phase="measure", iteration=iteration, metric="e2e_ms",
                values=[took_s * 1e3],
            )
        )  # fmt: skip
    ticks = np.arange(-1, starts_ns[-1] // _TICK_NS + 2, dtype=np.int64) * _TICK_NS
    seen_ns = ticks + np.array([draw.randrange(_TICK_NS // 50) for _ in ticks])
    bits = [_POWER_CAP * any(a <= t / 1e9 < b for a, b in spells) for t in seen_ns]
    point = PointRecord(
        label="", batch=1, context=64, warmup_iterations=0, measured_iterations=_ITERATIONS,
        steady="flat", stopped="max-samples", iterations_ns=starts_ns,
    )  # fmt: skip
    record = RoundRecord(
        round=number, status="done", started_at="", order=number, points=[point],
        phases=[PhaseRecord(name="measure", start_ns=0, end_ns=starts_ns[-1])],
    )  # fmt: skip
    telemetry = Telemetry(
        series=(SeriesKey("nvml", "GPU-a", "clock_events_bits", "bits", "state"),),
        which=np.zeros(len(ticks), np.int32),
        time_ns=seen_ns,
        call_ns=np.zeros(len(ticks), np.int64),
        value=np.array(bits),
        why=np.full(len(ticks), -1, np.int32),
        reasons=(),
    )
    watched = RoundTelemetry(hz=20, ticks=len(ticks), missed=0, late=0)
    return record, rows, Seen(watched, telemetry, ())


def _spells(draw: Random) -> Iterator[tuple[float, float]]:
    at_s = 0.0
    while at_s < 2 * _ITERATIONS * _ITERATION_MS / 1e3:
        at_s += draw.expovariate(_SHARE / (1 - _SHARE) / _SPELL_S)
        end_s = at_s + draw.expovariate(1 / _SPELL_S)
        yield at_s, end_s
        at_s = end_s


def _through(at_s: float, work_s: float, spells: list[tuple[float, float]]) -> float:
    """Return how long work takes from `at_s` on, slower within spells."""
    now_s = at_s
    for begin_s, end_s in spells:
        if end_s <= now_s:
            continue
        free_s = max(0.0, begin_s - now_s)
        if work_s <= free_s:
            break
        work_s, now_s = work_s - free_s, now_s + free_s
        slow_s = end_s - now_s
        if work_s * _SLOWER <= slow_s:
            return now_s + work_s * _SLOWER - at_s
        work_s, now_s = work_s - slow_s / _SLOWER, end_s
    return now_s + work_s - at_s


def main() -> None:
    """Print the noise with all samples and without the disturbed ones."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.disturbance")
    parser.add_argument("--rounds", type=int, default=200)
    given = parser.parse_args()
    print(
        f"{given.rounds} rounds of {_ITERATIONS} iterations, every other one on a device that "
        f"throttles {_SHARE:.0%} of the time ({_SLOWER}× slower)\n"
    )
    print("               spread of rounds   off the truth   samples kept, least")
    for action, keep in (("flag", 0.5), ("discard", 0.5), ("discard", 0.3)):
        found = noise(action, given.rounds, keep=keep)
        name = action if action == "flag" else f"{action} {keep}"
        print(
            f"  {name:12} {found.spread:14.2%} {found.off:+15.2%} {min(found.kept):14d} of "
            f"{_ITERATIONS}"
        )


if __name__ == "__main__":
    main()
