"""The least time an operator can take on a machine of known ceilings."""

import pytest

from harness.profiling.record import Row

CEILINGS = {"read_bytes_per_s": 10e9, "gemm_flop_per_s": 100e9}


def row(family: str, read: float | None, flops: float | None) -> Row:
    return Row(
        operator="aten::x", function="", family=family, calls=1, ns=1e6, bytes=read, flops=flops
    )


@pytest.mark.parametrize(
    ("flops", "expected_ns"),
    [pytest.param(2e6, 1e5, id="bandwidth binds"), pytest.param(5e7, 5e5, id="arithmetic binds")],
)
def test_the_slower_of_reading_and_multiplying_bounds_a_product(
    flops: float, expected_ns: float
) -> None:
    assert row("gemm", 1e6, flops).bound_ns(CEILINGS) == pytest.approx(expected_ns)


@pytest.mark.parametrize(
    ("one", "ceilings"),
    [
        pytest.param(row("embedding", 1e6, None), CEILINGS, id="reads a part of its tensor"),
        pytest.param(row("gemm", None, None), CEILINGS, id="its bytes were not seen"),
        pytest.param(row("gemm", 1e6, 1e6), {}, id="no ceiling was measured"),
    ],
)
def test_no_bound_is_given_where_none_is_known(one: Row, ceilings: dict[str, float]) -> None:
    assert one.bound_ns(ceilings) is None
