"""Given series of readings, when something disturbed, then the spell covers it and says what."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cautions import CautionKind
from harness.store.record import PhaseRecord, RoundRecord, RoundTelemetry
from harness.store.telemetry import SeriesKey
from harness.telemetry.cut import Series
from harness.telemetry.doubts import (
    Disturbed,
    cautions_of,
    choose_dropped,
    disturbed_iterations,
)
from harness.telemetry.spells import Spell, seconds_of, spells

MS = 1_000_000
POWER_CAP = 4
GPU = "GPU-1"
QUIET = RoundTelemetry(hz=50, ticks=100, missed=0, late=0)


def every_20_ms(quantity: str, values: list[float], device: str = GPU) -> dict[SeriesKey, Series]:
    key = SeriesKey("nvml", device, quantity, "1", "gauge")
    times = np.arange(len(values), dtype=np.int64) * 20 * MS
    return {key: Series(times, np.array(values, np.float64))}


def measured(end_ms: int, start_ms: int = 0) -> RoundRecord:
    phase = PhaseRecord(name="measure", start_ns=start_ms * MS, end_ns=end_ms * MS)
    return RoundRecord(round=0, status="done", started_at="", order=0, phases=[phase])


def test_throttling_is_a_spell_from_the_reading_before_it_to_the_one_after() -> None:
    bits = [0.0] * 10 + [POWER_CAP] * 5 + [0.0] * 10

    (spell,) = spells(every_20_ms("clock_events_bits", bits), 0, 500 * MS)

    assert (spell.kind, spell.device) == (CautionKind.THROTTLED, GPU)
    assert spell.what == "throttled (power cap)"
    assert (spell.start_ns, spell.end_ns) == (180 * MS, 300 * MS)


def test_an_idle_clock_is_not_throttling() -> None:
    assert spells(every_20_ms("clock_events_bits", [1.0, 0.0, 1.0]), 0, 40 * MS) == []


def test_throttling_outside_of_the_phase_is_none_of_its_own() -> None:
    bits = [POWER_CAP] * 5 + [0.0] * 20

    assert spells(every_20_ms("clock_events_bits", bits), 200 * MS, 400 * MS) == []


@pytest.mark.parametrize("quantity", ["sm_clock_mhz", "clock_mhz"])
def test_a_clock_that_drops_is_a_spell_and_one_that_jitters_is_not(quantity: str) -> None:
    steady = [1980.0, 1965.0] * 20
    dropped = [*steady[:20], *[1500.0] * 5, *steady[25:]]

    assert spells(every_20_ms(quantity, steady), 0, 800 * MS) == []
    (spell,) = spells(every_20_ms(quantity, dropped), 0, 800 * MS)
    assert spell.kind == CautionKind.CLOCKS
    assert "below 95% of 1980 MHz" in spell.what


@pytest.mark.parametrize(
    ("quantity", "values", "kind"),
    [
        ("cgroup_throttled_s", [1.0, 1.0, 1.08, 1.08], CautionKind.CPU_LIMIT),
        ("thermal_throttles", [4.0, 4.0, 5.0, 5.0], CautionKind.THERMAL),
        ("swap_in_bytes", [0.0, 0.0, 9e6, 9e6], CautionKind.SWAP),
        ("others_busy_s", [0.0, 0.0, 0.02, 0.02], CautionKind.OTHERS_LOAD),
        ("other_processes", [0.0, 0.0, 1.0, 0.0], CautionKind.OTHER_PROCESS),
    ],
)
def test_what_disturbs_is_found_where_it_happened(
    quantity: str, values: list[float], kind: CautionKind
) -> None:
    (spell,) = spells(every_20_ms(quantity, values), 0, 60 * MS)

    assert spell.kind == kind
    assert spell.overlap_ns(20 * MS, 40 * MS) == 20 * MS


def test_a_caution_says_what_for_how_long_and_of_how_much() -> None:
    bits = [0.0] * 10 + [POWER_CAP] * 5 + [0.0] * 36
    (doubt,) = cautions_of(measured(1000), every_20_ms("clock_events_bits", bits), QUIET)

    assert doubt.kind == CautionKind.THROTTLED
    assert doubt.message == "GPU-1: throttled (power cap) for 0.12 s of the 1.00 s measured"


def test_memory_near_its_end_is_a_caution() -> None:
    series = every_20_ms("memory_free_bytes", [30e9, 1e9, 30e9]) | every_20_ms(
        "memory_total_bytes", [80e9] * 3
    )
    (doubt,) = cautions_of(measured(40), series, QUIET)

    assert doubt.kind == CautionKind.MEMORY_FULL
    assert "GPU-1 had 1.2% of its memory left" in doubt.message


def test_a_starved_sampler_is_a_caution() -> None:
    starved = QUIET.model_copy(update={"ticks": 90, "missed": 10})
    (doubt,) = cautions_of(measured(40), {}, starved)

    assert doubt.kind == CautionKind.SAMPLER_STARVED
    assert "missed 10 of 100" in doubt.message


def test_a_run_that_was_not_watched_says_why() -> None:
    problem = "the sampler process ended (SIGSEGV)"
    (doubt,) = cautions_of(measured(40), {}, QUIET.model_copy(update={"problem": problem}))

    assert (doubt.kind, problem in doubt.message) == (CautionKind.NOT_WATCHED, True)


def test_an_iteration_is_disturbed_by_the_share_that_spells_cover() -> None:
    spell = Spell(CautionKind.THROTTLED, 150 * MS, 250 * MS, GPU, "")

    found = disturbed_iterations([0, 100 * MS, 200 * MS, 300 * MS, 400 * MS], [spell, spell])

    assert found == [Disturbed(1, 0.5), Disturbed(2, 0.5)]


@given(
    st.lists(st.tuples(st.integers(0, 999), st.floats(0.01, 1)), max_size=60),
    st.integers(1, 60),
    st.integers(1, 20),
    st.floats(0.01, 1),
)
def test_something_is_always_kept_and_the_most_disturbed_go_first(
    drawn: list[tuple[int, float]], total: int, least: int, keep: float
) -> None:
    disturbed = [Disturbed(n, s) for n, s in {n % total: s for n, s in drawn}.items()]

    dropped = choose_dropped(disturbed, total, least, keep)

    assert len(dropped) <= total - max(1, min(least, total), int(keep * total))
    assert total - len(dropped) >= 1
    stayed = [d.share for d in disturbed if d.iteration not in dropped]
    assert all(d.share >= max(stayed, default=0) for d in disturbed if d.iteration in dropped)


def test_what_discarding_throttled_iterations_gives() -> None:
    """A device that throttles a third of the time, 1.4 times slower then, read every 20 ms."""
    rng = np.random.default_rng(0)
    bits, edges, took = [], [0.0], []
    throttled = [(t // 300) % 3 == 2 for t in range(0, 30_000, 20)]
    bits = [float(POWER_CAP * t) for t in throttled]
    while edges[-1] < 28_000:
        slow = throttled[int(edges[-1] / 20)]
        took.append(50 * (1.4 if slow else 1.0) * rng.normal(1, 0.01))
        edges.append(edges[-1] + took[-1])
    found = spells(every_20_ms("clock_events_bits", bits), 0, int(edges[-1] * MS))
    disturbed = disturbed_iterations([int(e * MS) for e in edges], found)

    dropped = choose_dropped(disturbed, len(took), least=5, keep=0.4)

    values = np.array(took)
    kept = np.array([v for i, v in enumerate(took) if i not in dropped])
    noise = values.std() / values.mean()
    less = kept.std() / kept.mean()
    # the throttled third is gone, nothing else suffers, and the figure is the undisturbed one
    assert noise > 0.15
    assert less < 0.05 < noise / 3
    assert kept.mean() == pytest.approx(50, rel=0.01)
    assert len(kept) >= 0.4 * len(took)


def test_seconds_are_not_counted_twice() -> None:
    same = Spell(CautionKind.SWAP, 0, 100 * MS, "", "")

    assert seconds_of([same, same], 50 * MS, 200 * MS) == pytest.approx(0.05)
