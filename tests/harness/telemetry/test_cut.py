"""Given readings of a known truth, when a phase is cut out, then the bound holds."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.telemetry.cut import CutError, Series, increase, integral, mean

MS = 1_000_000


def series(*points: tuple[float, float]) -> Series:
    """Readings given as (milliseconds, value)."""
    times, values = zip(*points, strict=True)
    return Series(np.array([int(t * MS) for t in times], np.int64), np.array(values, np.float64))


def test_an_edge_between_two_readings_is_on_the_line_between_them() -> None:
    cut = increase(series((0, 0.0), (100, 10.0), (200, 30.0)), 50 * MS, 150 * MS)

    assert cut.value == pytest.approx(15.0)
    assert cut.n == 1
    # at the start it may be anything from 0 to 10, at the end from 10 to 30
    assert cut.bound == pytest.approx(5.0 + 10.0)


def test_readings_at_the_edges_leave_nothing_open() -> None:
    cut = increase(series((0, 3.0), (100, 10.0), (200, 30.0)), 0, 200 * MS)

    assert (cut.value, cut.bound) == (27.0, 0.0)


def test_of_what_is_read_seldom_the_reading_beside_the_edge_counts() -> None:
    # given readings a millisecond before a phase of two seconds and one after it
    cut = increase(series((-1, 100.0), (2001, 300.0)), 0, 2000 * MS)

    # then the bound is those milliseconds' share, not all that happened in the phase
    assert cut.value == pytest.approx(200.0, rel=0.002)
    assert cut.bound < 1.0


def test_a_mean_is_over_time_not_over_readings() -> None:
    # given 0 for 900 ms, read twice, and 10 for 100 ms, read ten times
    points = [(0, 0.0), (899, 0.0), *((900 + 10 * i, 10.0) for i in range(11))]

    assert mean(series(*points), 0, 1000 * MS).value == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(
    ("points", "phase_ms", "says"),
    [
        ([(10, 1.0), (90, 2.0)], (0, 50), "first read 10 ms after it began"),
        ([(0, 1.0), (90, 2.0)], (50, 100), "last read 10 ms before it ended"),
        ([(0, 2.0), (50, 1.0), (100, 3.0)], (0, 100), "fell"),
    ],
)
def test_what_cannot_be_known_is_said(
    points: list[tuple[float, float]], phase_ms: tuple[int, int], says: str
) -> None:
    with pytest.raises(CutError, match=says):
        increase(series(*points), phase_ms[0] * MS, phase_ms[1] * MS)


def test_a_series_that_was_never_read_says_so() -> None:
    empty = Series(np.array([], np.int64), np.array([], np.float64))

    with pytest.raises(CutError, match="never read"):
        mean(empty, 0, 1)


_STEPS = st.lists(
    st.tuples(st.integers(1, 150), st.floats(0, 1e6, allow_nan=False)), min_size=3, max_size=40
)


@given(steps=_STEPS, data=st.data())
def test_the_true_increase_of_a_counter_lies_within_the_bound(
    steps: list[tuple[int, float]], data: st.DataObject
) -> None:
    # given a counter that jumps at times of its own between readings
    times = np.cumsum([0, *(ms for ms, _ in steps)])
    jumps = [(data.draw(st.integers(int(a) + 1, int(b))), grown)
             for a, b, (_, grown) in zip(times, times[1:], steps, strict=False)]  # fmt: skip

    def truth(at_ms: float) -> float:
        return sum(grown for when, grown in jumps if when <= at_ms)

    start, end = sorted(data.draw(st.tuples(*[st.integers(0, int(times[-1]))] * 2)))
    read = series(*((float(t), truth(t)) for t in times))

    cut = increase(read, start * MS, end * MS)

    assert abs(cut.value - (truth(end) - truth(start))) <= cut.bound * (1 + 1e-9) + 1e-6


@given(steps=_STEPS, data=st.data())
def test_the_true_integral_of_a_gauge_lies_within_the_bound(
    steps: list[tuple[int, float]], data: st.DataObject
) -> None:
    # given a gauge that goes from each reading to the next in one step, at a time of its own
    times = np.cumsum([0, *(ms for ms, _ in steps)])
    values = [0.0, *(value for _, value in steps)]
    switch = [data.draw(st.integers(int(a), int(b)))
              for a, b in pairwise(times)]  # fmt: skip
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, int(times[-1]))] * 2)))
    edges = [0, *switch, int(times[-1])]
    true = sum(
        max(0, min(b, end) - max(a, start)) / 1e3 * value
        for (a, b), value in zip(pairwise(edges), values, strict=True)
    )

    area = integral(series(*zip(map(float, times), values, strict=True)), start * MS, end * MS)

    assert abs(area.value - true) <= area.bound * (1 + 1e-9) + 1e-6
