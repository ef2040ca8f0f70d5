"""What all charts' tables have in common: which run, which case, under which name and colour.

A series is what a reader compares: the same backend with the same options is one series in every
scenario of a run, and keeps its number, hence its colour, in every chart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.reading import Reading
from harness.shown import printable
from harness.store.answer import labels
from harness.store.record import CaseRecord, RunRecord
from harness.store.view import marks_of

if TYPE_CHECKING:
    import pandas as pd

    from harness.store import Run

__all__ = [
    "WHICH",
    "Seen",
    "ends",
    "frame",
    "letters",
    "named",
    "records",
    "samples_words",
    "seen",
    "short",
    "span_words",
]

WHICH: Mapping[str, str] = {
    "run": "letter of the run, where there are several",
    "run_id": "id of the run",
    "case": "id of the case",
    "label": "short name of the series: run, backend, and the options in which cases differ",
    "series": "number of the series: its colour and mark",
    "backend": "backend",
    "mark": "what stands beside every figure of the case: simulated, resumed, …",
    "scenario": "scenario",
}
"""Columns that every table begins with."""


@dataclass(frozen=True)
class Seen:
    """A case as charts see it."""

    run: Run
    record: RunRecord
    case: CaseRecord
    which: dict[str, Any]
    """The columns of `WHICH`."""


def letters(runs: Sequence[Run]) -> list[str]:
    """Return a letter per run; an empty one where there is a single run."""
    if len(runs) < 2:
        return [""] * len(runs)
    return [chr(65 + n) if n < 26 else f"R{n + 1}" for n in range(len(runs))]


def seen(runs: Sequence[Run]) -> Iterator[Seen]:
    """Yield every case of the runs with its name and its number of series."""
    numbers: dict[str, int] = {}
    for run, letter in zip(runs, letters(runs), strict=True):
        names = labels(run.record)
        for case in run.record.cases:
            label = " ".join(filter(None, [letter, short(names[case.id])]))
            which = {
                "run": letter,
                "run_id": run.record.id,
                "case": case.id,
                "label": label,
                "series": numbers.setdefault(label, len(numbers)),
                "backend": case.backend,
                "mark": ", ".join(marks_of(case, run.record)),
                "scenario": case.scenario,
            }
            yield Seen(run, run.record, case, which)


def short(name: str) -> str:
    """Return a name that fits beside an axis and holds no control character."""
    return printable(name, 40)


def frame(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> pd.DataFrame:
    """Return rows as a table with exactly these columns, in their order; rows may be none."""
    import pandas as pd

    return pd.DataFrame(
        [{name: row.get(name) for name in columns} for row in rows], columns=list(columns)
    )


def ends(reading: Reading) -> dict[str, Any]:
    """Return value, interval and counts of a reading, as columns."""
    return reading.model_dump(include={"value", "low", "high", "n", "processes"})


def records(data: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table as plain values; what is missing is None."""
    return [
        {str(k): None if v is None or v != v else v for k, v in row.items()}
        for row in data.to_dict("records")
    ]


def named(row: Mapping[str, Any]) -> str:
    """Return a row's label with what must stand beside its figures."""
    return f"{row['label']} ({row['mark']})" if row["mark"] else str(row["label"])


def samples_words(data: pd.DataFrame) -> str:
    """Say how many samples and processes stand behind each value: `n = 120 to 378 …`."""
    n, processes = span_words(data["n"]), span_words(data["processes"])
    return f"n = {n} samples in {processes} process{'' if processes == '1' else 'es'}" if n else ""


def span_words(column: pd.Series[Any]) -> str:
    """Return the least and the most of a column of counts: `8 to 1,386`, or `8`; empty if none."""
    known = column.dropna()
    if known.empty:
        return ""
    low, high = int(known.min()), int(known.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
