"""What CI systems read, and what names from files must not do to it."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from harness.gate.comparable import Difference
from harness.gate.judgement import Judgement, Row, Side, Verdict
from harness.gate.outputs import code_quality, github_report, junit_xml, markdown_table

EVIL = 'x"><b>|`]]>&\n::error::pwned\x1b[2J%0A'


def a_row(verdict: Verdict, case: str = "tiny/eager/latency", **fields: object) -> Row:
    given = {
        "metric": "itl_ms", "unit": "ms", "base": 20.0, "cand": 22.0, "ratio": 1.1,
        "low": 1.08, "high": 1.12, "margin": 0.03, "reason": "beyond the margin",
    }  # fmt: skip
    return Row(case=case, kind="speed", verdict=verdict, **{**given, **fields})  # type: ignore[arg-type]


def judged(*rows: Row) -> Judgement:
    return Judgement(
        base=Side(run="a", label="main"),
        cand=Side(run="b", label="latest"),
        method="paired",
        rows=list(rows),
        differences=[Difference(key="cpu.model", base="A", cand=EVIL, why="", allowed=True)],
        notes=[EVIL],
    )


ALL = judged(
    a_row("pass"), a_row("improvement"), a_row("regression"), a_row("inconclusive"),
    a_row("incomparable"), a_row("no-figure", ratio=None, low=None, high=None),
    a_row("regression", metric="ttft_ms", primary=False),
)  # fmt: skip


def test_junit_has_a_test_for_each_figure_that_decides() -> None:
    suite = ET.fromstring(junit_xml(ALL)).find("testsuite")

    assert suite is not None
    assert len(suite.findall("testcase")) == 6
    assert {k: suite.get(k) for k in ("tests", "failures", "errors", "skipped")} == {
        "tests": "6", "failures": "2", "errors": "2", "skipped": "0",
    }  # fmt: skip


def test_junit_failures_name_case_metric_and_interval() -> None:
    failure = ET.fromstring(junit_xml(judged(a_row("regression")))).find(".//failure")

    assert failure is not None
    assert failure.get("message") == (
        "tiny/eager/latency itl_ms: 20 ms -> 22 ms, +10.0 % [+8.0, +12.0]: beyond the margin"
    )


def test_an_inconclusive_figure_that_passes_is_a_skipped_test() -> None:
    document = ET.fromstring(junit_xml(judged(a_row("inconclusive")), inconclusive_passes=True))

    assert document.get("failures") == "0"
    assert document.get("skipped") == "1"


def test_github_annotates_what_fails_and_nothing_else() -> None:
    lines = list(github_report(ALL))

    assert [line.split(" ")[0] for line in lines] == [
        "::notice", "::error", "::warning", "::error", "::error",
    ]  # fmt: skip


def test_github_gets_the_table_in_its_step_summary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))

    list(github_report(ALL))

    assert summary.read_text() == "before\n" + markdown_table(ALL)


def test_gitlab_names_each_finding_the_same_in_every_pipeline() -> None:
    one = json.loads(code_quality(judged(a_row("regression"))))
    other = json.loads(code_quality(judged(a_row("regression", cand=25.0, ratio=1.25))))

    assert one[0]["severity"] == "critical"
    assert one[0]["fingerprint"] == other[0]["fingerprint"]
    assert {"description", "check_name", "fingerprint", "severity", "location"} == set(one[0])


def test_gitlab_has_no_finding_where_all_passes() -> None:
    assert json.loads(code_quality(judged(a_row("pass"), a_row("improvement")))) == []


def test_markdown_draws_the_interval_beside_its_numbers() -> None:
    text = markdown_table(judged(a_row("regression")))

    assert text.startswith("### ❌ regression: latest against main\n")
    assert "| 20 ms → 22 ms | +10.0 % [+8.0, +12.0] |" in text
    assert "●" in text


def test_names_from_files_break_no_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    evil = judged(a_row("regression", case=EVIL, metric=EVIL, reason=EVIL))

    (case,) = ET.fromstring(junit_xml(evil)).iter("testcase")
    assert "\x1b" not in str(case.get("classname"))
    (annotation,) = github_report(evil)
    assert "\n" not in annotation
    assert "%0A" not in annotation  # an escape in a name stays text: %250A
    assert len(json.loads(code_quality(evil))) == 1
    rows = [line for line in markdown_table(evil).splitlines() if line.startswith("| ❌")]
    assert len(rows) == 1
    assert rows[0].replace("\\|", "").count("|") == 8
    assert "<b>" not in rows[0].replace("\\<", "")
