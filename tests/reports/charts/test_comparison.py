import pandas as pd
import pytest

from harness.charts import chart
from harness.gate.evidence import evidence_of
from harness.gate.judge import Rules, judge
from harness.store import Run
from harness.testing.runs import scaled_record


class Moved:
    """The sample as another run: every figure and sample times a factor."""

    def __init__(self, run: Run, factor: float) -> None:
        self.record = scaled_record(run.record, factor)
        self.record.id = "20261130-000000-default-0000"
        frame = run.samples
        self.samples = frame.assign(value=frame["value"] * factor)


def compared(sample: Run, factor: float = 1.0, **changes: object) -> pd.DataFrame:
    other = Moved(sample, factor)
    for name, value in changes.items():
        for case in other.record.cases:
            setattr(case, name, value)
    return chart("comparison").data([sample, other])  # type: ignore[list-item] # read like a run


def test_the_verdicts_are_those_of_the_gate(sample: Run) -> None:
    other = Moved(sample, 2.0)

    judged = judge(evidence_of(sample), evidence_of(other), Rules(margin=0.03))  # type: ignore[arg-type]
    data = chart("comparison").data([sample, other])  # type: ignore[list-item]

    rows = {(r.case, r.metric, r.point): r.verdict for r in judged.rows if r.primary}
    assert len(data) == 8
    for row in data.to_dict("records"):
        assert row["verdict"] == rows[row["case"], row["metric"], row["point"]]


def test_memory_that_doubled_is_named_as_a_regression(sample: Run) -> None:
    data = compared(sample, 2.0)

    peak = data[data["metric"] == "peak_bytes"]
    assert set(peak["verdict"]) == {"regression"}
    assert peak["ratio"].tolist() == pytest.approx([2.0, 2.0])
    assert "is worse" in chart("comparison").title(data)


def test_the_same_figures_are_no_regression(sample: Run) -> None:
    data = compared(sample)

    assert "regression" not in set(data["verdict"])
    assert chart("comparison").title(data).startswith("No regression: ")


def test_other_weights_are_incomparable_and_still_drawn(sample: Run) -> None:
    data = compared(sample, 1.2, model_digest="another")

    assert set(data["verdict"]) == {"incomparable"}
    assert data["reason"].str.len().gt(0).all()
    figure = chart("comparison").figure(data)
    assert "incomparable" in " ".join(text.get_text() for text in figure.axes[0].texts)


def test_the_band_is_the_margin_of_the_suite(sample: Run) -> None:
    figure = chart("comparison").figure(compared(sample, 1.1))

    (band, *_) = figure.axes[0].patches
    assert band.get_x() == pytest.approx(0.97)
    assert band.get_width() == pytest.approx(0.06)


def test_a_single_run_has_nothing_to_compare(sample: Run) -> None:
    assert chart("comparison").data([sample]).empty
