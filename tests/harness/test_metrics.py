"""Metrics as data."""

from typing import Any

import pytest
from pydantic import ValidationError

from harness.metrics import Metric

ITL: dict[str, Any] = {
    "name": "itl_ms",
    "unit": "ms",
    "better": "lower",
    "definition": "gap between two tokens, first token excluded",
    "pooled": "per gap",
}


def test_the_first_statistic_is_the_headline() -> None:
    assert Metric(**ITL, statistics=("p90", "p50")).headline == "p90"


def test_a_metric_has_a_statistic() -> None:
    with pytest.raises(ValidationError, match="itl_ms has no statistic"):
        Metric(**ITL, statistics=())


@pytest.mark.parametrize("key", sorted(ITL))
def test_a_metric_is_fully_declared(key: str) -> None:
    with pytest.raises(ValidationError, match=key):
        Metric(**{k: v for k, v in ITL.items() if k != key})


@pytest.mark.parametrize(
    ("key", "value"),
    [("better", "bigger"), ("statistics", ("p42",)), ("ceiling", "sky"), ("colour", "red")],
)
def test_a_metric_knows_no_other_words(key: str, value: object) -> None:
    with pytest.raises(ValidationError, match=key):
        Metric(**ITL | {key: value})


def test_a_metric_survives_json() -> None:
    metric = Metric(**ITL, primary=True, achieved="decode_bytes_per_s", ceiling="read_bytes_per_s")
    assert Metric.model_validate_json(metric.model_dump_json()) == metric
