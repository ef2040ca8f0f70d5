import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.reading import Reading
from harness.shown import interval, number, printable, quantity, share, spread


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (27.4123, "ms", "27.4 ms"),
        (0.0123, "ms", "12.3 µs"),
        (1830.4, "ms", "1,830 ms"),
        (61_234.0, "ms", "61.2 s"),
        (142.34, "tokens/s", "142 tok/s"),
        (540 * 2**20, "bytes", "540 MiB"),
        (1023.99 * 2**20, "bytes", "1.00 GiB"),
        (0, "bytes", "0 B"),
        (-3 * 2**20, "bytes", "-3 MiB"),
        (31.23e9, "bytes/s", "31.2 GB/s"),
        (412.5e9, "FLOP/s", "412 GFLOP/s"),
        (1536, "bytes/1000 tokens", "1.50 KiB/1000 tokens"),
        (4, "", "4"),
        (8, "rows", "8 rows"),
    ],
)
def test_a_quantity_is_short_and_has_its_unit(value: float, unit: str, shown: str) -> None:
    assert quantity(value, unit) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (0.5, "0.5"), (1.2345, "1.23"), (99.96, "100"), (9.996, "10.0"), (1424.4, "1,424"),
     (0.00012345, "0.000123"), (1.5e-6, "1.50e-06"), (2.5e12, "2.50e+12")],
)  # fmt: skip
def test_a_number_has_three_digits(value: float, shown: str) -> None:
    assert number(value) == shown


@given(st.floats(1e-3, 1e8), st.sampled_from([-1, 1]))
def test_a_shown_number_is_within_half_a_per_cent_of_the_value(value: float, sign: int) -> None:
    assert float(number(sign * value).replace(",", "")) == pytest.approx(sign * value, rel=0.0051)


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [(98.8, 101.2, "± 1.2 %"), (99.99, 100.01, "± <0.1 %"), (100, 100, "± <0.1 %"),
     (70.0, 130.0, "± 30 %"), (0.0, 1e6, "± >1000 %")],
)  # fmt: skip
def test_a_spread_is_relative(low: float, high: float, shown: str) -> None:
    assert spread(Reading(value=100.0, low=low, high=high)) == shown


def test_a_spread_around_zero_is_absolute() -> None:
    assert spread(Reading(value=0.0, low=-2.0, high=4.0)) == "± 3"


def test_no_interval_is_no_spread_and_says_why() -> None:
    reading = Reading(value=1.0, no_interval="one process")

    assert spread(reading) == ""
    assert interval(reading, "ms") == "one process"
    assert interval(Reading.absent("needs 368 samples"), "ms") == "needs 368 samples"


def test_a_share_is_in_per_cent() -> None:
    assert [share(x) for x in (0.623, 0.0412, 1.04)] == ["62 %", "4.1 %", "104 %"]


@given(st.text())
def test_printable_text_has_no_control_or_format_character(text: str) -> None:
    shown = printable(text, 10_000)

    assert all(unicodedata.category(c)[0] != "C" for c in shown)


def test_what_could_act_on_a_terminal_or_turn_text_around_becomes_its_code() -> None:
    assert printable("\x1b[31mred\x07\u202eevil\n") == r"\x1b[31mred\x07\u202eevil\x0a"
    assert printable("a\n\tb\r", lines=True) == "a\n\tb\\x0d"


def test_readable_text_stays_as_it_is() -> None:
    assert printable("Grüße 你好 ± × µs [bold]") == "Grüße 你好 ± × µs [bold]"


def test_long_text_loses_its_middle() -> None:
    assert printable("a" * 5000 + "z" * 5000, 11) == "aaaaa…zzzzz"
