import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.charts import chart
from harness.reading import Reading
from harness.store import Run
from harness.testing.runs import example_record, scaled_record
from reports.charts.comparison import verdict


class Shown:
    """A run that is only a record."""

    problems: list[str] = []  # noqa: RUF012

    def __init__(self, **update: object) -> None:
        self.record = example_record(run_id=str(update.pop("run_id", "a"))).model_copy(
            update=update
        )


def moved(factor: float, run_id: str = "b") -> Shown:
    run = Shown(run_id=run_id)
    run.record = scaled_record(run.record, factor)
    return run


@pytest.mark.parametrize(
    ("ratio", "low", "high", "expected"),
    [
        (1.10, 1.05, 1.15, "regression"),
        (0.90, 0.85, 0.95, "improvement"),
        (1.00, 0.98, 1.02, "pass"),
        (1.02, 1.01, 1.04, "inconclusive"),
        (1.10, 0.95, 1.25, "inconclusive"),
    ],
)
def test_the_verdict_follows_the_rule_of_the_gate(
    ratio: float, low: float, high: float, expected: str
) -> None:
    reading = Reading(value=ratio, low=low, high=high)

    assert verdict(reading, "lower", 0.03, exact=False) == expected


@given(st.floats(0.5, 2), st.floats(1.0001, 1.3))
def test_a_metric_that_goes_the_other_way_mirrors_the_verdict(ratio: float, wide: float) -> None:
    reading = Reading(value=ratio, low=ratio / wide, high=ratio * wide)
    mirror = {"regression": "improvement", "improvement": "regression"}

    lower = verdict(reading, "lower", 0.03, exact=False)
    assert verdict(reading, "higher", 0.03, exact=False) == mirror.get(lower, lower)


def test_exact_quantities_are_compared_as_they_are() -> None:
    exact = Reading(value=1.04, no_interval="exact")

    assert verdict(exact, "lower", 0.03, exact=True) == "regression"
    assert verdict(exact, "lower", 0.03, exact=False) == "inconclusive"


def test_a_run_that_got_slower_is_named_with_its_metric() -> None:
    data = chart("comparison").data([Shown(), moved(1.2)])  # type: ignore[list-item]

    itl = data[data["metric"] == "itl_ms"]
    assert set(itl["verdict"]) == {"regression"}
    assert itl["ratio"].tolist() == pytest.approx([1.2, 1.2])
    assert "is worse" in chart("comparison").title(data)


def test_other_weights_are_incomparable() -> None:
    other = moved(1.2)
    for case in other.record.cases:
        case.model_digest = "another"

    data = chart("comparison").data([Shown(), other])  # type: ignore[list-item]

    assert set(data["verdict"]) == {"incomparable"}
    assert set(data["reason"]) == {"the weights differ"}


def test_another_machine_is_incomparable_and_said_which_fact_differs() -> None:
    other = moved(1.0)
    other.record.environment = {**other.record.environment, "cpu": {"model": "another"}}

    data = chart("comparison").data([Shown(), other])  # type: ignore[list-item]

    assert data["reason"].str.contains("cpu.model").all()


def test_a_single_run_has_nothing_to_compare(sample: Run) -> None:
    assert chart("comparison").data([sample]).empty
