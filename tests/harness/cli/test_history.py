"""History and selftest as they are shown; what they find is tested elsewhere."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from harness.errors import InputError
from harness.reading import Reading
from harness.store import Run, Samples, Store
from harness.store.record import Figure
from harness.testing.sides import CASE, as_duet, side

Command = Callable[..., Any]


@pytest.fixture
def sixteen_runs(store: Store) -> Store:
    """A metric that grows by a tenth after half of the runs."""
    for number in range(16):
        value = (20.0 if number < 8 else 22.0) * (1 + 0.002 * (number % 3))
        git = {"revision": f"{number:012x}{0:028x}", "dirty": False}
        found = side(
            f"20261124-0400{number:02d}-suite-aaaa", {"itl_ms": [[value]]}, environment={"git": git}
        )
        record = found.record.model_copy(
            update={"created_at": f"2026-11-24T04:00:{number:02d}+00:00"}
        )
        reading = Reading(value=value)
        record.cases[0].figures = [Figure(metric="itl_ms", statistic="p50", reading=reading)]
        store.create(record).close()
    return store


def test_a_change_of_level_names_runs_and_revisions(sixteen_runs: Store, harness: Command) -> None:
    shown = " ".join(harness("history", "itl_ms").stdout.split())

    assert "▁" in shown
    assert "20 ms -> 22" in shown
    assert f"between 20261124-040007-suite-aaaa at {7:012x}" in shown
    assert f"and 20261124-040008-suite-aaaa at {8:012x}" in shown


def test_history_is_data_as_well(sixteen_runs: Store, harness: Command) -> None:
    (found,) = json.loads(harness("history", "itl_ms", "--json").stdout)

    assert found["case"] == CASE
    assert len(found["moments"]) == 16
    assert len(found["changes"]) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["itl"], 'no run has a metric "itl"'), (["itl_ms", "--case", "x*"], "no case is like")],
)
def test_what_is_not_there_is_bad_input(
    sixteen_runs: Store, harness: Command, arguments: list[str], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        harness("history", *arguments)


def test_selftest_says_what_the_machine_can_show(
    store: Store, harness: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A duet that was played before stands for the one that selftest plays."""
    from harness.engine.duet import Turn
    from harness.gate.ab import AbResult
    from harness.gate.evidence import evidence_of
    from harness.gate.judge import Rules, judge

    random = np.random.default_rng(0)
    sides = as_duet(
        *(
            side(name, {"itl_ms": [[20 * np.exp(random.normal(0, 0.01))] * 4 for _ in range(10)]})
            for name in ("20261124-040000-a-aaaa", "20261124-040000-b-bbbb")
        )
    )
    runs = []
    for found in sides:
        (series,) = found.series.values()
        with store.create(found.record) as writer:
            for each, values in zip(found.record.cases[0].rounds, series.processes, strict=True):
                rows = [Samples("", "measure", i, "itl_ms", [v]) for i, v in enumerate(values)]
                writer.add_round(CASE, each, rows)
            writer.finish(found.record)
        runs.append(Run(writer.path))

    def played(_store: Store, ab: Any, *, told: Callable[..., None]) -> AbResult:
        assert not ab.early_stop
        for number in range(10):
            rounds = [found.record.cases[0].rounds[number] for found in sides]
            told(Turn(number, 0, (rounds[0], rounds[1]), 6.0), CASE)
        one, other = (evidence_of(run) for run in runs)
        return AbResult(judge(one, other, Rules()), (runs[0], runs[1]), 10)

    monkeypatch.setattr("harness.gate.ab.run_ab", played)

    shown = harness("selftest", "quick").stdout
    rows = json.loads(harness("selftest", "quick", "--json").stdout)["rows"]

    assert "finds a slowdown of" in shown
    assert [row["pairs"] for row in rows] == [6, 10, 15, 20, 30]
    assert rows[0]["seconds"] == 36.0
    assert rows[-1]["smallest_change"] < rows[0]["smallest_change"] < 0.2
