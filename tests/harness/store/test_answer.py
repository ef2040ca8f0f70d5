import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.reading import Reading
from harness.store.answer import answers, comparisons, labels, ratio, tokens_words
from harness.store.record import RunRecord
from harness.testing.runs import example_record

_THROUGHPUT = "smollm2-135m/eager[dtype=bfloat16]/throughput"


def with_values(first: tuple[float, float, float], second: tuple[float, float, float]) -> RunRecord:
    """The example's latency cases with these figures: value, low, high."""
    record = example_record()
    record.cases = [c for c in record.cases if c.scenario == "latency"]
    for case, (value, low, high) in zip(record.cases, (first, second), strict=True):
        for figure in case.figures:
            if figure.metric == "itl_ms" and figure.statistic == "p50":
                figure.reading = Reading(value=value, low=low, high=high)
    return record


def test_the_answer_names_the_faster_case_the_ratio_and_its_interval() -> None:
    (answer,) = answers(with_values((20.0, 19.0, 21.0), (10.0, 9.5, 10.5)))

    assert answer == (
        "eager bfloat16: itl_ms 10.0 ms ± 5.0 %, 2.00× [1.86, 2.15] faster than "
        "eager float32 (20.0 ms)"
    ).replace("10.0 ms", "10 ms").replace("20.0 ms", "20 ms")


def test_cases_whose_ratio_may_be_one_cannot_be_told_apart() -> None:
    (answer,) = answers(with_values((10.1, 9.5, 10.7), (10.0, 9.5, 10.5)))

    assert "cannot be told apart (1.01× [" in answer
    assert "faster" not in answer


def test_higher_is_better_where_the_metric_says_so() -> None:
    found = [c for c in comparisons(example_record()) if c.metric.name == "decode_tokens_per_s"]

    assert [c.point for c in found] == ["batch=1", "batch=4"]
    assert all(c.ranked[0][0].backend_options["dtype"] == "bfloat16" for c in found)


def test_an_incorrect_case_takes_part_in_no_comparison() -> None:
    record = example_record(statuses={_THROUGHPUT: "incorrect"})

    assert all(case.id != _THROUGHPUT for c in comparisons(record) for case, _ in c.ranked)
    assert tokens_words(record).startswith("the other cases' tokens agree")
    assert tokens_words(record).endswith("1 incorrect without figures")


def test_a_run_without_figures_says_so() -> None:
    record = example_record(statuses={c.id: "failed" for c in example_record().cases})

    assert answers(record) == ["No case has a figure."]
    assert "6 failed" in tokens_words(record)


def test_tokens_that_agree_in_part_are_not_called_equal() -> None:
    record = example_record()
    check = record.cases[3].rounds[0].check
    assert check is not None
    record.cases[3].rounds[0].check = check.model_copy(update={"top1_agreement": 0.99})

    assert "within tolerance, 99 %" in tokens_words(record)
    assert "all tokens agree" not in tokens_words(record)


def test_labels_say_only_what_differs() -> None:
    assert set(labels(example_record()).values()) == {"eager float32", "eager bfloat16"}


def test_cases_that_labels_cannot_tell_apart_keep_their_ids() -> None:
    record = example_record()
    record.cases.append(record.cases[0].model_copy(update={"id": "again"}))

    assert labels(record)["again"] == "again"


def test_of_many_cases_the_next_and_the_last_are_named() -> None:
    record = with_values((20.0, 19.0, 21.0), (10.0, 9.5, 10.5))
    for threads in (1, 3, 4):
        other = record.cases[0].model_copy(deep=True, update={"id": f"t{threads}"})
        other.backend_options["threads"] = threads
        for figure in other.figures:
            figure.reading = Reading(value=30.0 + threads, low=30.0 + threads, high=35.0 + threads)
        record.cases.append(other)

    (answer,) = answers(record)

    assert "best of 5" in answer
    assert "than eager float32 threads=2 (20 ms)" in answer
    assert "than eager float32 threads=4 (34 ms)" in answer
    assert "threads=3" not in answer


@given(st.floats(0.1, 1e3), st.floats(0.1, 1e3), st.floats(1.001, 1.5), st.floats(1.001, 1.5))
def test_a_ratio_lies_in_its_interval_and_does_not_care_for_order(
    a: float, b: float, wide_a: float, wide_b: float
) -> None:
    one = Reading(value=a, low=a / wide_a, high=a * wide_a)
    two = Reading(value=b, low=b / wide_b, high=b * wide_b)

    times = ratio(one, two)

    assert times.value is not None
    assert times.low is not None
    assert times.high is not None
    assert times.low < times.value < times.high
    assert times.value >= 1
    assert ratio(two, one) == times or a == b


def test_the_interval_of_a_ratio_covers_what_it_says() -> None:
    """95 % intervals of two lognormal centres, combined, hold the true ratio in about 95 %."""
    import math

    noise = random.Random(7)
    sizes, held = (0.03, 0.01), 0
    for _ in range(4000):
        readings = []
        for true, size in zip((2.0, 1.0), sizes, strict=True):
            seen = true * math.exp(noise.gauss(0, size))
            half = math.exp(1.96 * size)
            readings.append(Reading(value=seen, low=seen / half, high=seen * half))
        times = ratio(*readings)
        assert times.low is not None
        assert times.high is not None
        held += times.low <= 2.0 <= times.high

    assert 0.94 < held / 4000 < 0.96


def test_a_ratio_with_zero_is_absent_with_a_reason() -> None:
    assert ratio(Reading(value=0.0), Reading(value=1.0)).reason


def test_a_ratio_of_intervals_without_bounds_to_speak_of_has_none() -> None:
    endless = Reading(value=1.0, low=1e-300, high=1e300)

    found = ratio(endless, endless)

    assert found.value == 1.0
    assert "too wide" in str(found.no_interval)


def test_a_ratio_of_figures_without_interval_has_none() -> None:
    (answer,) = answers(_bare())

    assert "2.00× (no interval) faster than" in answer


def _bare() -> RunRecord:
    record = with_values((20.0, 19.0, 21.0), (10.0, 9.5, 10.5))
    for case in record.cases:
        for figure in case.figures:
            value = figure.reading.value
            if value is not None:
                figure.reading = Reading(value=value, no_interval="one process")
    return record


@pytest.mark.parametrize("count", [0, 1])
def test_a_run_of_no_or_one_case_has_an_answer(count: int) -> None:
    record = example_record()
    record.cases = record.cases[:count]

    assert len(answers(record)) == 1


def test_an_option_of_one_backend_is_no_name_where_its_cases_agree_in_it() -> None:
    record = example_record()
    record.cases = [c for c in record.cases if c.scenario == "latency"][:1]
    other = record.cases[0].model_copy(deep=True, update={"id": "other", "backend": "onnx"})
    other.backend_options = {"dtype": "float32", "threads": 2, "device": "cpu", "graph": "contrib"}
    record.cases.append(other)

    assert list(labels(record).values()) == ["eager", "onnx"]


def test_precision_is_named_where_two_backends_differ_in_it() -> None:
    record = example_record()
    record.cases = [c for c in record.cases if c.scenario == "latency"]
    record.cases[1].backend = "onnx"

    assert list(labels(record).values()) == ["eager float32", "onnx bfloat16"]


def test_a_backend_that_cannot_run_here_lengthens_no_other_name() -> None:
    record = example_record()
    record.cases = [c for c in record.cases if c.scenario == "latency"][:1]
    absent = {"id": "other", "backend": "cudagraphs", "status": "unavailable", "figures": []}
    other = record.cases[0].model_copy(deep=True, update=absent)
    other.backend_options = {**record.cases[0].backend_options, "device": "cuda"}
    record.cases[0].backend_options["device"] = "cpu"
    record.cases.append(other)

    assert list(labels(record).values()) == ["eager", "cudagraphs device=cuda"]


def test_an_interval_that_says_nothing_is_not_read_out() -> None:
    (answer,) = answers(with_values((20.0, 1e-9, 1e9), (10.0, 9.5, 10.5)))

    assert "cannot be told apart (2.00×, interval too wide to read)" in answer
