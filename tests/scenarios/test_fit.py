from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.contracts import Lab
from harness.model import PRESETS
from harness.testing import FakeMeter, FakeSession
from scenarios.fit import Fit, largest_fit, needed_bytes

TINY = PRESETS["tiny"]
ROW = TINY.kv_bytes(1, 1, "float32")


@given(
    fixed=st.integers(0, 500),
    slope=st.integers(1, 20),
    budget=st.integers(1, 5000),
    most=st.integers(1, 300),
    pessimism=st.floats(1.0, 3.0),
)
def test_nothing_above_the_budget_is_ever_tried_where_predictions_are_not_too_low(
    fixed: int, slope: int, budget: int, most: int, pessimism: float
) -> None:
    tried: list[int] = []

    def probe(size: int) -> int:
        tried.append(size)
        return fixed + slope * size

    found = largest_fit(
        lambda size: pessimism * (fixed + slope * size), probe, range(1, most + 1), budget
    )

    assert all(fixed + slope * size <= budget for size in tried)
    assert found in (0, *tried)  # never a figure that was not seen to fit


@given(fixed=st.integers(0, 500), slope=st.integers(1, 20), budget=st.integers(1, 5000))
def test_with_exact_predictions_the_largest_is_found_at_once(
    fixed: int, slope: int, budget: int
) -> None:
    tried: list[int] = []

    def peak(size: int) -> int:
        tried.append(size)
        return fixed + slope * size

    found = largest_fit(lambda size: fixed + slope * size, peak, range(1, 301), budget)

    assert found == max((n for n in range(1, 301) if fixed + slope * n <= budget), default=0)
    assert len(tried) <= 1


@given(slope=st.integers(2, 20), budget=st.integers(100, 5000))
def test_predictions_that_are_too_low_still_end_at_a_size_that_fits(
    slope: int, budget: int
) -> None:
    found = largest_fit(lambda size: size, lambda size: slope * size, range(1, 5001), budget)

    assert slope * found <= budget
    assert slope * (found + max(2, found // 16)) > budget


def test_a_size_that_runs_out_of_memory_does_not_fit() -> None:
    found = largest_fit(
        lambda size: size, lambda size: size if size <= 40 else None, range(1, 101), 1000
    )

    assert 38 <= found <= 40


def test_where_nothing_fits_the_answer_is_0() -> None:
    assert largest_fit(lambda size: 1e9, lambda size: 0, range(2, 100), 10) == 0


def fit(lab: Lab, session: FakeSession, budget: int) -> Fit:
    used = lab.memory.current_bytes()
    return Fit(session, lab, 4, budget, seen_peak_bytes=used, seen_needed_bytes=0)


def test_a_probe_really_prepares_prefills_and_decodes_the_shape(
    make_lab: Callable[..., Lab],
) -> None:
    meter = FakeMeter(1000, available_bytes=10**9)
    session = FakeSession(meter=meter, position_bytes=ROW)

    peak = fit(make_lab(memory=meter), session, 10**9).probe(3, 50)

    assert peak == 1000 + 3 * 50 * ROW
    assert (session.calls["prefill"], session.calls["decode"]) == (1, 1)


def test_predictions_learn_what_a_byte_of_cache_really_costs(make_lab: Callable[..., Lab]) -> None:
    meter = FakeMeter(1000, available_bytes=10**9)
    session = FakeSession(meter=meter, position_bytes=4 * ROW)
    lab = make_lab(memory=meter)
    tried = fit(lab, session, 10**9)

    tried.probe(10, 500)

    true_peak = 1000 + 20 * 500 * 4 * ROW
    assert true_peak <= tried.predicted_bytes(20, 500) <= 1.05 * true_peak
    assert needed_bytes(lab, 10, 500) == 10 * 500 * ROW + 4 * 10 * 512


def test_running_out_of_memory_is_an_answer_and_other_errors_are_not(
    make_lab: Callable[..., Lab],
) -> None:
    class Failing(FakeSession):
        error: Exception = MemoryError()

        def decode(self) -> None:  # type: ignore[override]  # it never returns
            raise self.error

    session = Failing(meter=FakeMeter(0))
    tried = fit(make_lab(), session, 10**9)

    assert tried.probe(1, 10) is None
    session.error = RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
    assert tried.probe(1, 10) is None
    session.error = RuntimeError("shapes do not match")
    with pytest.raises(RuntimeError, match="shapes"):
        tried.probe(1, 10)
