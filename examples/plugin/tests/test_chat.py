"""The report says what the run found, what is doubtful, and where; whatever names the run has."""

from pathlib import Path

from harness_example_delay.report import ChatReport

from harness.store import Run, Store
from harness.store.answer import headline
from harness.store.record import RunRecord
from harness.testing.runs import example_record


def written(record: RunRecord, folder: Path) -> list[str]:
    """What the report says of a run."""
    with Store(folder / "store").create(record) as writer:
        ChatReport().write([Run(writer.path)], folder / "report.txt")
    return (folder / "report.txt").read_text().splitlines()


def test_the_first_line_is_the_answer_and_the_last_one_where_it_was_found(tmp_path: Path) -> None:
    record = example_record()
    said = written(record, tmp_path)
    assert said[0] == f"default: {headline(record)}"
    assert said[1] == "! 1 caution; harness show names them"
    assert said[-1].startswith("AMD EPYC 7B13, 2 cores")
    assert said[-1].endswith(record.id)


def test_a_case_without_figures_is_named_with_its_reason(tmp_path: Path) -> None:
    case = "smollm2-135m/eager[dtype=bfloat16]/memory"
    said = written(example_record(statuses={case: "incorrect"}), tmp_path)
    assert "[incorrect]" in said[0]
    assert [line for line in said if line.startswith(f"! {case}: ")]


def test_a_name_cannot_break_a_line(tmp_path: Path) -> None:
    record = example_record()
    record.suite = "two\nlines\x1b[31m"
    said = written(record, tmp_path)
    assert said[0].startswith("two\\x0alines\\x1b[31m")
