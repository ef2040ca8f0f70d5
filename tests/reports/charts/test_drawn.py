"""The numbers that are drawn are the numbers of the table: artists, not pixels."""

from typing import Any

import pandas as pd
import pytest

from harness.charts import LIGHT, chart
from harness.store import Run


def lines(figure: Any, *, axes: int = 0) -> list[tuple[list[float], list[float]]]:
    """x and y of every line of a figure's axes."""
    return [
        (list(map(float, line.get_xdata())), list(map(float, line.get_ydata())))
        for line in figure.axes[axes].lines
        if len(line.get_xdata())
    ]


def test_fastest_draws_each_ratio_with_its_interval(sample: Run) -> None:
    data = chart("fastest").data([sample])
    figure = chart("fastest").figure(data)

    drawn = lines(figure)
    for row in data[data["times_low"].notna()].to_dict("records"):
        assert any(x == pytest.approx([row["times_low"], row["times_high"]]) for x, _ in drawn)
        assert any(x == pytest.approx([row["times_better"]]) for x, _ in drawn)


def test_fastest_is_better_to_the_right_whichever_way_the_metric_goes(sample: Run) -> None:
    data = chart("fastest").data([sample]).set_index(["metric", "point", "label"])

    for metric, point, lower in (("itl_ms", "", True), ("decode_tokens_per_s", "batch=4", False)):
        base = data.loc[(metric, point, "eager float32")]
        other = data.loc[(metric, point, "eager bfloat16")]
        ratio = base["value"] / other["value"] if lower else other["value"] / base["value"]
        assert other["times_better"] == pytest.approx(ratio)
        assert other["times_low"] < other["times_better"] < other["times_high"]


def test_batch_draws_its_ceiling_at_the_figure_over_its_mbu(sample: Run) -> None:
    data = chart("batch").data([sample])
    figure = chart("batch").figure(data)

    one = data[data["label"] == "eager float32"].sort_values("batch")
    expected = (one["value"] / one["mbu"]).tolist()
    assert any(y == pytest.approx(expected) for _, y in lines(figure))


def test_pareto_places_a_batch_at_its_throughput_and_step_time(sample: Run) -> None:
    data = chart("pareto").data([sample])
    figure = chart("pareto").figure(data)

    for row in data.to_dict("records"):
        step = 1000 * row["batch"] / row["throughput"]
        assert row["value"] == pytest.approx(step)
        assert any(
            x == pytest.approx([row["throughput"]]) and y == pytest.approx([step])
            for x, y in lines(figure)
        )


def test_a_point_that_another_beats_in_both_is_not_on_the_front(sample: Run) -> None:
    data = chart("pareto").data([sample])

    assert data["front"].any()
    for row in data[~data["front"]].to_dict("records"):
        better = (data["throughput"] >= row["throughput"]) & (data["value"] <= row["value"])
        assert better.sum() > 1


def test_memory_stacks_its_parts_to_the_total_of_the_phase(sample: Run) -> None:
    data = chart("memory").data([sample])
    figure = chart("memory").figure(data)

    for _, rows in data.groupby(["case", "phase"]):
        assert rows["value"].sum() == pytest.approx(rows["total"].iloc[0])
    bars = [p for p in figure.axes[0].patches if p.get_width() > 0]
    assert sum(p.get_width() for p in bars) == pytest.approx(data["value"].sum())


def test_startup_begins_each_phase_where_the_last_one_ended(sample: Run) -> None:
    data = chart("startup").data([sample])

    for _, rows in data.groupby("series"):
        assert rows["start"].tolist() == pytest.approx([0, *rows["value"].cumsum().tolist()[:-1]])


def test_latencies_keep_the_run_s_own_percentiles(sample: Run) -> None:
    data = chart("latencies").data([sample])
    figure = chart("latencies").figure(data)

    case = next(c for c in sample.record.cases if c.scenario == "latency")
    p50 = next(f for f in case.figures if f.metric == "itl_ms" and f.statistic == "p50")
    value = p50.reading.value
    assert value is not None
    drawn = [x for axes in range(len(figure.axes)) for x, _ in lines(figure, axes=axes)]
    assert any(x == pytest.approx([value]) for x in drawn)
    curve = data[
        (data["case"] == case.id) & (data["metric"] == "itl_ms") & (data["kind"] == "quantile")
    ]
    assert curve["value"].is_monotonic_increasing


def test_roofline_puts_decode_at_its_bytes_times_intensity(sample: Run) -> None:
    data = chart("roofline").data([sample])
    figures = sample.figures

    row = data[
        (data["phase"] == "decode") & (data["point"] == "batch=4") & (data["dtype"] == "float32")
    ].iloc[0]
    rate = figures[
        (figures["case"] == row["case"])
        & (figures["metric"] == "decode_bytes_per_s")
        & (figures["point"] == "batch=4")
    ]["value"].iloc[0]
    assert row["intensity"] == 2 * 4 / 4
    assert row["value"] == pytest.approx(rate * row["intensity"])


def test_correctness_names_whose_tokens_are_wrong(sample: Run) -> None:
    data = chart("correctness").data([sample])
    data.loc[data["label"] == "eager bfloat16", "passed"] = False

    assert "eager bfloat16: tokens are wrong" in chart("correctness").title(data)


def test_sequence_counts_the_gaps_that_were_disturbed() -> None:
    which = {
        "run": "",
        "run_id": "r",
        "case": "c",
        "label": "eager",
        "series": 0,
        "backend": "eager",
        "mark": "",
        "scenario": "latency",
    }
    steady = [
        {
            "phase": "measure",
            "index": i,
            "value": 10.0 + i,
            "low": 9.0 + i,
            "high": 11.0 + i,
            "n": 5,
            "processes": 3,
        }
        for i in range(20)
    ]
    bad = [{"phase": "disturbed", "index": 4, "value": 40.0, "n": 1, "processes": 3}]
    data = pd.DataFrame([which | row for row in steady + bad])

    title = chart("sequence").title(data)
    figure = chart("sequence").figure(data, LIGHT)

    assert "1 of 100 gaps were disturbed" in title
    assert any(x == [4.0] and y == [40.0] for x, y in lines(figure))


@pytest.mark.parametrize("name", ["batch", "cost", "pareto"])
def test_an_interval_of_enormous_width_leaves_the_values_in_sight(name: str, sample: Run) -> None:
    data = chart(name).data([sample])
    data.loc[data.index[0], ["low", "high"]] = [1e-12, 1e12]

    (axes, *_) = chart(name).figure(data).axes

    assert axes.get_ylim()[1] < 5 * data["value"].max()


def test_a_check_without_logits_counts_for_tokens_and_not_for_their_error(sample: Run) -> None:
    rows = chart("correctness").data([sample]).to_dict("records")

    cases = [c for c in sample.record.cases if c.backend_options["dtype"] == "bfloat16"]
    checks = [r.check for c in cases for r in c.rounds if r.check]
    audits = [r.audit for c in cases for r in c.rounds if r.audit]
    row = next(r for r in rows if "bfloat16" in r["label"] and r["quantity"] == "max_logit_error")
    assert row["low"] == min(check.max_logit_error for check in checks) > 0
    assert row["n"] == len(checks)
    assert row["positions"] == sum(check.positions for check in [*checks, *audits])
