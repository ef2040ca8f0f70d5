"""Given a clock, when ticks are late or a sampler breaks, then it is counted and said."""

import json
from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from harness.contracts import Availability, Quantity, Sampler, Watched
from harness.reading import Reading
from harness.telemetry.lines import Call, Missed, parse_lines
from harness.telemetry.loop import Beat, Loop, Opened

MS = 1_000_000
WATCHED = Watched(worker_pid=None, harness_pid=1)


class Thermometer(Sampler):
    """One quantity in each tier; raises where told to."""

    summary = "temperatures"

    def __init__(self) -> None:
        self.broken = False

    def availability(self) -> Availability:
        return Availability.yes()

    def open(self, watched: Watched) -> Sequence[Quantity]:
        return [
            Quantity("core_c", "°C"),
            Quantity("board_c", "°C", tier="slow"),
            Quantity("fan_c", "°C", tier="slow", reason="no fan"),
        ]

    def read(self, tier: str) -> Mapping[tuple[str, str], Reading]:
        if self.broken:
            raise OSError("the bus is gone")
        return {("", "core_c" if tier == "fast" else "board_c"): Reading(value=41.5)}


class Clock:
    """Stands still until it is told to move."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


def loop(hz: float = 50) -> tuple[Loop, Beat, Clock, Thermometer]:
    sampler, clock = Thermometer(), Clock()
    beat = Beat(0, hz)
    return Loop([Opened.of(sampler, 0, sampler.open(WATCHED))], beat, clock), beat, clock, sampler


def read(loop: Loop) -> list[object]:
    return list(parse_lines(loop.lines().splitlines(keepends=True)))


def test_deadlines_do_not_drift() -> None:
    beat = Beat(1000, hz=50)
    # given ticks that each come a little late
    dues = [beat.arrive(beat.next_ns + 3 * MS).due_ns for _ in range(100)]

    assert dues == [1000 + 20 * MS * k for k in range(100)]
    assert beat.missed == 0


@given(st.lists(st.integers(0, 200 * MS), min_size=1, max_size=50), st.integers(1, 200))
def test_every_tick_is_either_read_or_counted_as_missed(lates: list[int], hz: int) -> None:
    beat = Beat(0, hz)
    last = None
    for late_ns in lates:
        last = beat.arrive(beat.next_ns + late_ns)

    assert last is not None
    assert beat.ticks + beat.missed == last.due_ns // beat.period_ns + 1
    assert beat.ticks == len(lates)


def test_a_missed_spell_is_written_with_its_ends() -> None:
    sampling, beat, clock, _ = loop()
    sampling.tick()
    clock.now_ns = 20 * MS + 3 * 20 * MS + 5 * MS  # three ticks too late
    sampling.tick()

    missed = [item for item in read(sampling) if isinstance(item, Missed)]
    assert missed == [Missed(20 * MS, 60 * MS, 3)]
    assert (beat.ticks, beat.missed) == (2, 3)


def test_ticks_that_come_due_while_one_is_read_are_missed_not_made_up_for() -> None:
    sampling, beat, clock, thermometer = loop()
    read = thermometer.read

    def takes_50_ms(tier: str) -> Mapping[tuple[str, str], Reading]:
        clock.now_ns += 50 * MS
        return read(tier)

    thermometer.read = takes_50_ms  # type: ignore[method-assign]
    sampling.tick()

    # fast and slow took 100 ms: the ticks at 20, 40, 60, 80 and 100 ms are gone
    assert (beat.ticks, beat.missed, beat.next_ns) == (1, 5, 120 * MS)
    assert b'{"missed": [20000000, 100000000, 5]}' in sampling.lines()


def test_the_slow_tier_is_read_once_a_second() -> None:
    sampling, _, clock, _ = loop(hz=10)
    for tick in range(30):
        clock.now_ns = tick * 100 * MS
        sampling.tick()

    tiers = [item.tier for item in read(sampling) if isinstance(item, Call)]
    assert (tiers.count("fast"), tiers.count("slow")) == (30, 3)


def test_a_sampler_that_raises_is_absent_with_the_reason_and_the_loop_goes_on() -> None:
    sampling, _, clock, thermometer = loop()
    thermometer.broken = True
    sampling.tick()
    thermometer.broken = False
    clock.now_ns = 20 * MS
    sampling.tick()

    calls = [item for item in read(sampling) if isinstance(item, Call) and item.tier == "fast"]
    assert [call.values for call in calls] == [(None,), (41.5,)]
    assert calls[0].why == {0: "read raised OSError: the bus is gone"}


def test_what_is_absent_here_is_never_read_and_has_no_place_in_a_line() -> None:
    sampling, _, _, _ = loop()
    sampling.boundary()

    calls = [item for item in read(sampling) if isinstance(item, Call)]
    assert {call.tier: len(call.values) for call in calls} == {"fast": 1, "slow": 1}


def test_a_line_has_the_times_before_and_after_the_call() -> None:
    sampling, _, clock, _ = loop()
    clock.now_ns = 2 * MS
    sampling.tick()

    line = json.loads(sampling.lines().splitlines()[0])
    assert (line["due"], line["b"], line["a"]) == (0, 2 * MS, 2 * MS)


def test_lines_may_be_taken_a_few_at_a_time() -> None:
    sampling, _, _, _ = loop()
    for _ in range(3):
        sampling.boundary()

    first = sampling.lines(2)
    assert len(first.splitlines()) == 2
    assert sampling.waiting == 4
