"""Several processes as one profile: rows still add up; and where time goes in words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.profiling.average import averaged
from harness.profiling.record import PhaseProfile, Profile, Row
from harness.profiling.words import phase_line, profile_line
from harness.store.record import Failure

times = st.dictionaries(st.sampled_from("abcd"), st.floats(1, 1e6), min_size=1)


def profile(rows: dict[str, float], **more: object) -> Profile:
    total = sum(rows.values())
    phase = PhaseProfile(
        phase="decode",
        plain_ns=total,
        profiled_ns=total,
        rows=[
            Row(operator=name, function="", family="gemm", calls=1, ns=ns)
            for name, ns in rows.items()
        ],
    )
    return Profile.model_validate({"case": "case", "round": 0, "phases": [phase], **more})


@given(st.lists(times, min_size=1, max_size=4))
def test_the_rows_of_a_mean_add_up_to_its_call(many: list[dict[str, float]]) -> None:
    (phase,) = averaged([profile(rows) for rows in many]).phases

    assert sum(row.ns for row in phase.rows) == pytest.approx(phase.profiled_ns)


def test_a_row_that_one_process_lacks_took_no_time_there() -> None:
    (phase,) = averaged([profile({"a": 10, "b": 4}), profile({"a": 20})]).phases

    assert {row.operator: (row.ns, row.calls) for row in phase.rows} == {
        "a": (15, 1), "b": (2, 0.5),
    }  # fmt: skip


def test_a_process_that_failed_is_a_note_and_all_of_them_a_failure() -> None:
    failed = Profile(
        case="case", round=0, phases=[], failure=Failure(phase="load", reason="no memory")
    )

    assert averaged([profile({"a": 1}), failed]).notes == ["one process failed in load: no memory"]
    assert profile_line(averaged([failed, failed])) == "not profiled: failed in load: no memory"


def test_a_line_says_how_long_what_and_how_near_to_the_ceiling() -> None:
    rows = [
        Row(operator="aten::linear", function="", family="gemm", calls=1, ns=8e6, bytes=40e6),
        Row(operator="(host)", function="", family="host", calls=1, ns=1.9e6),
        Row(operator="aten::silu", function="", family="elementwise", calls=1, ns=0.1e6),
    ]
    phase = PhaseProfile(phase="decode", plain_ns=9e6, profiled_ns=10e6, rows=rows)

    assert phase_line(phase, {"read_bytes_per_s": 10e9}) == (
        "decode 9 ms: gemm 80 % (50 % of its roofline), host 19 %"
    )
