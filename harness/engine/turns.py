"""One side of a duet, in its worker: warm a point up, then measure a block whenever told to.

Between blocks this process is frozen and the other side runs. Beside each block stands a probe of
the memory's read bandwidth, which tells the states of a machine apart. It must not know what the
other side is.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

from harness.contracts import Lab, Observation, Point, Scenario, Session
from harness.engine.clock import now_ns, seconds_since
from harness.engine.events import BLOCK, BlockDone, Ready, Speaker
from harness.engine.measure import PointResult, PointSeries, result_of
from harness.environment.cpu import last_level_cache_bytes
from harness.environment.facts import AbsentError
from harness.errors import SessionError
from harness.quiet import Snapshot, quietness_within, snapshot
from harness.stats.steady import Steady
from harness.stats.stopping import StoppingRule
from harness.store.record import BlockRecord

__all__ = ["bandwidth_probe", "measure_in_turns"]

_MIB = 2**20
_LEAST_BYTES, _MOST_BYTES = 64 * _MIB, 256 * _MIB
_PROBES = 3

Probe = Callable[[], float | None]


def measure_in_turns(
    scenario: Scenario,
    session: Session,
    point: Point,
    options: Any,
    lab: Lab,
    rule: StoppingRule,
    speaker: Speaker,
    block_seconds: float,
    device: str,
) -> PointResult:
    """Measure one point, block by block.

    Raises:
        SessionError: as `measure_point`.
    """
    series = PointSeries(scenario, point)
    observations = scenario.measure(session, point, options, lab)
    if point.once:
        series.add(_next(observations))
        return result_of(series, Steady(start=0, verdict="flat"), "exact", None)
    probe = bandwidth_probe(device)  # not above: it takes memory, and memory is observed once
    steady = _warm_up(series, observations, rule)
    start = len(series.centres)
    speaker.say(Ready(point=point.label))
    blocks: list[BlockRecord] = []
    stretches: list[tuple[Snapshot, Snapshot]] = []
    while speaker.told() == BLOCK:
        block, stretch = _block(series, observations, len(blocks), block_seconds, probe)
        blocks.append(block)
        stretches.append(stretch)
        speaker.say(BlockDone(block=blocks[-1]))
    if not blocks:
        raise SessionError("no block was asked for")
    # What the other side did while this one was frozen is no disturbance.
    quiet = quietness_within(stretches)
    measured = Steady(start=start, verdict=steady.verdict)
    found = result_of(series, measured, "told", None, quiet)
    found.blocks.extend(blocks)
    return found


def bandwidth_probe(device: str) -> Probe:
    """Return a function that reads memory once past the caches, and says at how many bytes/s.

    The best of three readings of a few milliseconds each: what disturbs one can only slow it down.
    On a GPU there is none yet: None.
    """
    if device != "cpu":
        return lambda: None
    import torch

    try:
        size = min(max(_LEAST_BYTES, 2 * last_level_cache_bytes()), _MOST_BYTES)
    except AbsentError:
        size = _LEAST_BYTES
    buffer = torch.ones(size // 4, dtype=torch.float32)

    def probe() -> float:
        taken = []
        with torch.inference_mode():
            for _ in range(_PROBES):
                start_ns = time.perf_counter_ns()
                buffer.sum()
                taken.append(time.perf_counter_ns() - start_ns)
        return size / min(taken) * 1e9

    return probe


def _warm_up(
    series: PointSeries, observations: Iterator[Observation], rule: StoppingRule
) -> Steady:
    """Iterate until steady, or until the sampling time of an ordinary round is spent."""
    start_ns = now_ns()
    while True:
        series.add(_next(observations))
        decision = rule.decide(series.centres, seconds_since(start_ns))
        settled = decision.steady.verdict in ("flat", "warmup")
        seen = len(series.centres) - decision.steady.start
        if decision.stop or (settled and seen >= rule.min_samples):
            return decision.steady


def _block(
    series: PointSeries,
    observations: Iterator[Observation],
    place: int,
    seconds: float,
    probe: Probe,
) -> tuple[BlockRecord, tuple[Snapshot, Snapshot]]:
    before = probe()
    begun = snapshot()
    first, start_ns = len(series.centres), now_ns()
    for _ in itertools.count():
        series.add(_next(observations))
        if seconds_since(start_ns) >= seconds:
            break
    end_ns = now_ns()
    ended = snapshot()
    block = BlockRecord(
        point=series.point.label,
        place=place,
        first_iteration=first,
        iterations=len(series.centres) - first,
        start_ns=start_ns,
        end_ns=end_ns,
        probe_before=before,
        probe_after=probe(),
    )
    return block, (begun, ended)


def _next(observations: Iterator[Observation]) -> Observation:
    try:
        return next(observations)
    except StopIteration:
        raise SessionError("the scenario ended before it was told to") from None
