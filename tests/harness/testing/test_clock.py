"""Clocks and a meter that obey."""

import time

import pytest

from harness.contracts import MemoryMeter
from harness.testing import Clock, FakeClock, FakeMeter, WallClock


def test_on_a_fake_clock_time_passes_only_when_told() -> None:
    clock = FakeClock(start_ns=7)
    assert (clock.now_ns(), clock.now_ns()) == (7, 7)
    clock.pass_ns(5)
    assert clock.now_ns() == 12


def test_time_does_not_run_backwards() -> None:
    with pytest.raises(ValueError, match="backwards"):
        FakeClock().pass_ns(-1)


@pytest.mark.parametrize("duration_ns", [0, 200_000, 3_000_000])
def test_on_the_wall_clock_a_wait_is_never_too_short(duration_ns: int) -> None:
    clock: Clock = WallClock()
    start_ns = time.monotonic_ns()
    clock.pass_ns(duration_ns)
    assert clock.now_ns() - start_ns >= duration_ns


def test_a_fake_meter_knows_what_it_is_told() -> None:
    meter = FakeMeter(current_bytes=100, available_bytes=900)
    plain: MemoryMeter = meter
    meter.take(300)
    meter.take(-200)
    assert (plain.current_bytes(), plain.peak_bytes(), plain.available_bytes()) == (200, 400, 800)
    plain.reset_peak()
    assert plain.peak_bytes() == 200
