"""What spells make of a round: cautions beside its figures, and which iterations they disturbed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from harness.cautions import Caution, CautionKind, caution
from harness.store.record import PhaseRecord, RoundRecord, RoundTelemetry
from harness.store.telemetry import SeriesKey
from harness.telemetry.cut import Series
from harness.telemetry.spells import Spell, seconds_of, spells

__all__ = ["Disturbed", "cautions_of", "choose_dropped", "disturbed_iterations"]

_LITTLE_LEFT = 0.05
_STARVED = 0.01
_FREE = {"available_bytes": "total_bytes", "memory_free_bytes": "memory_total_bytes"}


def cautions_of(
    record: RoundRecord,
    series: Mapping[SeriesKey, Series],
    watched: RoundTelemetry,
) -> list[Caution]:
    """Return the doubts about a round's measured phases; what it says itself is not said again."""
    said = {(c.kind, c.point) for c in record.cautions}
    found: list[Caution] = []
    for phase in record.phases:
        if phase.name == "measure":
            found += _of_phase(phase, series)
    found += _of_watching(record, watched)
    own = [c.model_copy(update={"round": record.round}) for c in found]
    return [c for c in own if (c.kind, c.point) not in said]


def _of_phase(phase: PhaseRecord, series: Mapping[SeriesKey, Series]) -> Iterable[Caution]:
    start_ns, end_ns = phase.start_ns, phase.end_ns
    seconds = (end_ns - start_ns) / 1e9
    grouped: dict[tuple[CautionKind, str, str], list[Spell]] = {}
    for spell in spells(series, start_ns, end_ns):
        grouped.setdefault((spell.kind, spell.device, spell.what), []).append(spell)
    for (kind, device, what), same in grouped.items():
        where = f"{device}: " if device else ""
        took = seconds_of(same, start_ns, end_ns)
        words = f"{where}{what} for {took:.2f} s of the {seconds:.2f} s measured"
        yield caution(kind, words, point=phase.point)
    yield from _memory(phase, series)


def _memory(phase: PhaseRecord, series: Mapping[SeriesKey, Series]) -> Iterable[Caution]:
    """Say where little memory was left at the fullest moment."""
    by_name = {(key.device, key.quantity): readings for key, readings in series.items()}
    for (device, name), free in by_name.items():
        total = by_name.get((device, _FREE.get(name, "")))
        inside = free.value[free.within(phase.start_ns, phase.end_ns)]
        if total is None or not len(inside) or not len(total.value):
            continue
        share = float(inside.min()) / float(total.value[-1])
        if share < _LITTLE_LEFT:
            where = device or "the machine"
            words = f"{where} had {share:.1%} of its memory left while this was measured"
            yield caution(CautionKind.MEMORY_FULL, words, point=phase.point)


def _of_watching(record: RoundRecord, watched: RoundTelemetry) -> Iterable[Caution]:
    if watched.problem is not None:
        yield caution(CautionKind.NOT_WATCHED, f"the machine was not watched: {watched.problem}")
    due = watched.ticks + watched.missed
    if due and watched.missed > _STARVED * due:
        yield caution(
            CautionKind.SAMPLER_STARVED,
            f"the sampler missed {watched.missed} of {due} readings in this round",
            round=record.round,
        )


@dataclass(frozen=True)
class Disturbed:
    """One iteration that the machine disturbed."""

    iteration: int
    share: float
    """Of its time that spells cover."""


def disturbed_iterations(iterations_ns: Sequence[int], found: Sequence[Spell]) -> list[Disturbed]:
    """Return the iterations that spells reach into.

    Args:
        iterations_ns: When each began, and when the last one ended.
        found: Spells of the phase.
    """
    disturbed = []
    for number, (start_ns, end_ns) in enumerate(pairwise(iterations_ns)):
        covered_s = seconds_of(found, start_ns, end_ns)
        if covered_s > 0:
            disturbed.append(Disturbed(number, covered_s * 1e9 / (end_ns - start_ns)))
    return disturbed


def choose_dropped(disturbed: Sequence[Disturbed], total: int, least: int, keep: float) -> set[int]:
    """Return which iterations are left out: the most disturbed first, never too many.

    Args:
        disturbed: Those that may be left out.
        total: Iterations after warm-up.
        least: How many are kept at least.
        keep: The share of `total` that is kept at least.
    """
    room = max(0, total - max(1, least, math.ceil(keep * total)))
    worst = sorted(disturbed, key=lambda d: (-d.share, d.iteration))
    return {d.iteration for d in worst[:room]}
