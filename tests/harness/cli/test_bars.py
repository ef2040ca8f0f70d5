import io

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from harness.cli.bars import comparison_bars, interval_bar, sparkline
from harness.reading import Reading
from harness.testing.runs import example_record


def test_a_bar_has_its_value_between_the_ends_of_its_interval() -> None:
    bar = interval_bar(Reading(value=5.0, low=2.0, high=8.0), 0.0, 10.0, width=11)

    assert bar == "  ├──●──┤  "


def test_an_end_outside_has_no_cap() -> None:
    bar = interval_bar(Reading(value=5.0, low=2.0, high=80.0), 0.0, 10.0, width=11)

    assert bar == "  ├──●─────"


@given(
    st.floats(1e-3, 1e6), st.floats(1, 3), st.floats(1e-3, 1e6), st.floats(1.01, 10),
    st.integers(5, 60),
)  # fmt: skip
def test_a_bar_always_fills_its_width_and_shows_its_value(
    value: float, wide: float, low: float, span: float, width: int
) -> None:
    reading = Reading(value=value, low=value / wide, high=value * wide)

    bar = interval_bar(reading, low, low * span, width=width)

    assert len(bar) == width
    assert bar.count("●") == 1


def test_comparisons_fit_into_eighty_columns_with_the_best_first() -> None:
    console = Console(width=80, file=io.StringIO(), color_system=None)
    for table in comparison_bars(example_record()):
        console.print(table)

    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert all(len(line) <= 80 for line in lines)
    first = next(n for n, line in enumerate(lines) if "itl_ms" in line)
    assert lines[first + 1].startswith("eager bfloat16")
    assert "●" in lines[first + 1]


def test_a_sparkline_goes_from_the_lowest_block_to_the_highest() -> None:
    assert sparkline([1, 2, 3, 4, 5, 6, 7, 8]) == "▁▂▃▄▅▆▇█"
    assert sparkline([]) == ""
    assert sparkline([3, 3, 3]) == "▁▁▁"


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=300), st.integers(1, 40))
def test_a_sparkline_is_never_wider_than_asked(values: list[float], width: int) -> None:
    assert 1 <= len(sparkline(values, width)) <= width
