"""A metric over runs."""

from typing import Any

from harness.gate.history import History, histories
from harness.reading import Reading
from harness.store.record import Figure, RunRecord
from harness.testing.sides import CASE, as_duet, side


def run(number: int, value: float | None, **environment: Any) -> RunRecord:
    record = side(f"run-{number:02d}", {"itl_ms": [[1.0]]}, environment=environment).record
    reading = Reading(value=value) if value is not None else Reading.absent("too few samples")
    figures = [Figure(metric="itl_ms", statistic="p50", reading=reading)]
    record.cases[0].figures = figures
    return record.model_copy(update={"created_at": f"2026-11-24T04:{number:02d}:00+00:00"})


def series(values: list[float | None], **last: Any) -> History:
    git = [{"revision": f"{n:040x}", "dirty": False} for n in range(len(values))]
    half = len(values) // 2
    records = [
        run(n, v, git=git[n], **(last if n >= half else {"cpu": {"model": "A"}}))
        for n, v in enumerate(values)
    ]
    (found,) = histories(reversed(records), "itl_ms")
    return found


FLAT = [20.0, 20.1, 19.9, 20.05, 19.95, 20.0, 20.1, 19.9]
STEP = [*FLAT, *(1.1 * x for x in FLAT)]


def test_runs_come_oldest_first_with_their_revisions() -> None:
    found = series(list(FLAT))

    assert [m.run for m in found.moments] == [f"run-{n:02d}" for n in range(8)]
    assert found.moments[3].revision == f"{3:040x}"
    assert found.case == CASE


def test_noise_is_no_change() -> None:
    assert series(list(FLAT)).changes == []


def test_a_change_names_the_runs_and_revisions_either_side() -> None:
    (change,) = series(list(STEP), cpu={"model": "A"}).changes

    assert (change.before.run, change.after.run) == ("run-07", "run-08")
    assert change.after.revision == f"{8:040x}"
    assert change.better is False
    assert change.ratio is not None
    assert abs(change.ratio - 1.1) < 0.01
    assert change.differences == []


def test_a_change_says_that_the_machine_changed_too() -> None:
    (change,) = series(list(STEP), cpu={"model": "B"}).changes

    assert [d.key for d in change.differences] == ["cpu.model"]


def test_runs_without_the_figure_are_left_out() -> None:
    assert len(series([20.0, None, 20.1]).moments) == 2


def test_sides_of_a_duet_are_left_out() -> None:
    one, other = as_duet(side("a", {"itl_ms": [[1.0]]}), side("b", {"itl_ms": [[1.0]]}))

    assert histories([one.record, other.record], "itl_ms") == []


def test_cases_are_chosen_by_pattern_and_brackets_stand_for_themselves() -> None:
    records = [run(1, 20.0)]

    assert len(histories(records, "itl_ms", "*eager[dtype=float32]*")) == 1
    assert histories(records, "itl_ms", "*compile*") == []
