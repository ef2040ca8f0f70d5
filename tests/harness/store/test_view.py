import pytest

from harness.cautions import CautionKind, caution
from harness.store.view import (
    caution_words,
    cautions_of,
    check_words,
    environment_words,
    lines,
    run_words,
    why_no_figures,
)
from harness.testing.runs import example_record


def test_lines_come_in_the_order_in_which_metrics_are_declared() -> None:
    record = example_record()
    record.cases[0].figures.reverse()

    assert [line.metric.name for line in lines(record.cases[0], record)] == [
        "ttft_ms", "itl_ms", "e2e_ms",
    ]  # fmt: skip


def test_a_rate_that_stands_as_mbu_beside_another_metric_is_left_out_unless_wanted() -> None:
    record = example_record()
    case = record.cases[0]
    rate = case.figures[0].model_copy(update={"metric": "decode_bytes_per_s"})
    case.figures.append(rate)

    assert "decode_bytes_per_s" not in [x.metric.name for x in lines(case, record)]
    assert "decode_bytes_per_s" in [x.metric.name for x in lines(case, record, rates=True)]
    assert [x.metric.name for x in lines(case, record, only=["decode_bytes_per_s"])] == [
        "decode_bytes_per_s"
    ]


def test_a_line_holds_value_spread_tails_and_share() -> None:
    record = example_record()
    itl = lines(record.cases[0], record, only=["itl_ms"])[0]

    assert (itl.value, itl.spread, itl.share) == ("27.4 ms", "± 1.2 %", "MBU 62 %")
    assert (itl.tail("p90"), itl.tail("p99"), itl.tail("mean")) == ("29.0 ms", "33.2 ms", "")


def test_an_absent_value_is_a_dash_never_a_zero() -> None:
    record = example_record()
    ttft = lines(record.cases[0], record, only=["ttft_ms"])[0]

    assert ttft.tail("p99") == "–"


def test_a_figure_whose_metric_is_not_declared_is_shown_all_the_same() -> None:
    record = example_record()
    record.metrics = []

    assert len(lines(record.cases[0], record)) == 3


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("done", None),
        ("failed", "failed in measure: the worker was killed (SIGSEGV)"),
        ("unavailable", "unavailable in load: cuda is not available: torch was built without it"),
    ],
)
def test_why_a_case_has_no_figures(status: str, words: str | None) -> None:
    case_id = example_record().cases[0].id
    record = example_record(statuses={case_id: status})  # type: ignore[dict-item] # parametrized

    assert why_no_figures(record.cases[0]) == words


def test_an_incorrect_case_says_how_wrong_and_where_first() -> None:
    case_id = example_record().cases[0].id
    words = why_no_figures(example_record(statuses={case_id: "incorrect"}).cases[0])

    assert words is not None
    assert words.startswith("incorrect: no speed is given; tokens wrong: top-1 51 % of 96")
    assert words.endswith("prompt 2, position 17: token 311, the reference has 284")


def test_the_worst_check_of_all_rounds_is_the_one_that_is_told() -> None:
    case = example_record().cases[0]
    check = case.rounds[1].check
    assert check is not None
    case.rounds[1].check = check.model_copy(update={"top1_agreement": 0.985})

    assert check_words(case).startswith("tokens agree within tolerance, top-1 98.5 %")


def test_a_case_that_was_not_audited_says_so() -> None:
    case = example_record().cases[0]
    for each in case.rounds:
        each.audit = None

    assert check_words(case) == "tokens agree, not audited"


def test_a_run_that_was_interrupted_and_resumed_says_both() -> None:
    record = example_record()
    record.status = "interrupted"
    record.resumed_at = ["2026-11-24T05:00:00+00:00"]

    assert run_words(record) == (
        "default, 2026-11-24 04:15 UTC, 3 rounds, resumed 1×, interrupted after 18 of 18 visits"
    )


def test_the_machine_in_one_line_leaves_out_what_is_absent() -> None:
    record = example_record()
    assert environment_words(record) == (
        "AMD EPYC 7B13, 2 cores, 8 GiB, torch 2.13.0, harness 0.1.0"
    )

    record.environment = {"cpu": {"absent": "no /proc"}, "gpus": [{"name": "NVIDIA H200"}]}
    assert environment_words(record) == "NVIDIA H200, harness 0.1.0"


def test_cautions_of_rounds_stand_in_for_those_of_an_unfinished_case() -> None:
    case = example_record().cases[1]
    doubt = caution(CautionKind.SWAP, "swapped 3 MiB", metric="itl_ms", round=2)
    case.rounds[2].cautions.append(doubt)
    case.rounds[1].cautions.append(doubt)

    (found,) = cautions_of(case)

    assert caution_words(found) == (
        "swapped 3 MiB (itl_ms, round 2): free memory or choose a smaller model, batch or context"
    )
