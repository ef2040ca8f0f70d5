"""A reading: a value, or absent with a reason; nothing unknown is zero or NaN."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.reading import Reading


def test_a_reading_without_value_has_a_reason() -> None:
    assert Reading.absent("no sensor").reason == "no sensor"
    with pytest.raises(ValidationError, match="either a value or the reason"):
        Reading()


def test_a_reading_with_a_value_has_no_reason_for_its_absence() -> None:
    with pytest.raises(ValidationError, match="either a value or the reason"):
        Reading(value=1.0, reason="no sensor")


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("field", ["value", "low", "high"])
def test_a_reading_is_finite(field: str, bad: float) -> None:
    given_ = {"value": 1.0, "low": 0.5, "high": 1.5} | {field: bad}
    with pytest.raises(ValidationError, match="finite"):
        Reading(**given_)


@pytest.mark.parametrize("end", ["low", "high"])
def test_an_interval_has_both_ends(end: str) -> None:
    with pytest.raises(ValidationError, match="both ends"):
        Reading.model_validate({"value": 1.0, end: 1.0})


def test_an_interval_stands_beside_a_value() -> None:
    with pytest.raises(ValidationError, match="value"):
        Reading(reason="no sensor", low=1.0, high=2.0)


def test_an_interval_is_not_upside_down() -> None:
    with pytest.raises(ValidationError, match="low"):
        Reading(value=1.0, low=2.0, high=0.5)


@pytest.mark.parametrize(
    ("reading", "half_width"),
    [
        (Reading(value=10.0, low=9.0, high=11.0), 0.1),
        (Reading(value=-10.0, low=-11.0, high=-9.0), 0.1),
        (Reading(value=10.0), None),
        (Reading(value=0.0, low=-1.0, high=1.0), None),
        (Reading.absent("no sensor"), None),
    ],
)
def test_the_half_width_is_relative_and_absent_where_it_has_no_meaning(
    reading: Reading, half_width: float | None
) -> None:
    assert reading.half_width == (None if half_width is None else pytest.approx(half_width))


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(0))
def test_a_reading_survives_json(value: float, n: int) -> None:
    reading = Reading(value=value, n=n, no_interval="one process")
    assert Reading.model_validate_json(reading.model_dump_json()) == reading
