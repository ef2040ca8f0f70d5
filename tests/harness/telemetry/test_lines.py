"""Given lines of readings, when they are read back, then nothing is lost and nothing invented."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.contracts import Quantity
from harness.reading import Reading
from harness.telemetry.lines import (
    Call,
    Footer,
    Header,
    SamplerHeader,
    call_line,
    parse,
    parse_lines,
)

HEADER = Header(
    pid=7,
    started_ns=11,
    hz=50.0,
    priority="nice 0",
    cores=(3,),
    samplers=(
        SamplerHeader("host", ok=True, quantities=(Quantity("cpu_s", "s", kind="counter"),)),
        SamplerHeader("nvml", ok=False, reason="no driver", remedy="install it"),
    ),
)
FOOTER = Footer(ended_ns=99, why="told to stop", ticks=4, missed=0, cpu_s=0.25)


def test_header_and_footer_come_back_as_they_were() -> None:
    assert [parse(HEADER.line()), parse(FOOTER.line())] == [HEADER, FOOTER]


@given(
    st.lists(
        st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.text(min_size=1)),
        min_size=1,
        max_size=8,
    )
)
def test_values_and_reasons_come_back_as_they_were(given_values: list[float | str]) -> None:
    keys = [("", f"q{place}") for place in range(len(given_values))]
    readings = {
        key: Reading.absent(value) if isinstance(value, str) else Reading(value=value)
        for key, value in zip(keys, given_values, strict=True)
    }

    call = parse(call_line(0, "fast", 5, 6, 8, keys, readings))

    assert isinstance(call, Call)
    assert call.at_ns == 7
    for place, value in enumerate(given_values):
        assert (call.why.get(place), call.values[place]) == (
            (value, None) if isinstance(value, str) else (None, value)
        )


def test_what_a_sampler_left_out_is_absent_not_zero() -> None:
    call = parse(call_line(0, "fast", None, 1, 2, [("", "power_w")], {}))

    assert isinstance(call, Call)
    assert call.values == (None,)
    assert call.why == {0: "the sampler returned nothing"}


def test_a_line_cut_off_by_a_kill_ends_the_lines() -> None:
    whole = HEADER.line()

    assert list(parse_lines([whole, FOOTER.line()[:20]])) == [HEADER]


@pytest.mark.parametrize("line", [b"{}", b"[]", b"null", b'{"v": 1}', b"\xff", b'{"header": {}}'])
def test_what_is_no_line_of_readings_is_said(line: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse(line)
