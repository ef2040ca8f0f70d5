"""A run as its readers have it: record, samples, figures. Reading changes nothing in the folder."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import StoreError
from harness.store.migrate import parse_json, to_record
from harness.store.record import CaseRecord, Figure, RunRecord
from harness.store.samples import Part, merged_table, read_table
from harness.store.telemetry import merged_telemetry, read_telemetry

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["Run", "figure_rows", "file_name", "load_run", "read_parts", "stem"]


def stem(case_id: str, round_number: int) -> str:
    """Return the file name, without suffix, of a round."""
    return f"{round_number:04d}-{file_name(case_id)}"


def file_name(case_id: str) -> str:
    """Return a file name, without suffix, for a case: readable, unique, harmless."""
    readable = re.sub(r"[^A-Za-z0-9.]+", "-", case_id).strip("-.")[:80]
    digest = sha256(case_id.encode("utf-8", "replace")).hexdigest()[:8]
    return f"{readable}-{digest}"


def load_run(path: str | Path) -> Run:
    """Read a run: its folder, its id or a unique beginning of it, `latest` or `latest~1`.

    Ids are looked up in the default store (`HARNESS_STORE`, else `.harness`). Works for a run that
    is still going on or was killed: it then holds the rounds that are finished.

    Raises:
        StoreError: where there is no such run, it is damaged, or a newer harness wrote it.
    """
    from harness.store.folder import Store

    return Store().find(str(path))


class Run:
    """One run, finished or not.

    Attributes:
        path: Its folder.
        record: Everything but the samples.
        problems: One line for each file in the folder that was damaged and left out.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.record, self.problems = _read(path)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @property
    def id(self) -> str:
        """The run's id, e.g. `20261124-041502-default-3f2a`."""
        return self.record.id

    @property
    def resumed(self) -> bool:
        """Whether it was interrupted and completed later."""
        return bool(self.record.resumed_at)

    @property
    def samples(self) -> pd.DataFrame:
        """Every timed value, warm-up included, one a row.

        Columns: case, round, process, point, phase (`warmup` or `measure`), iteration, index,
        metric, value (in the metric's unit).

        Raises:
            StoreError: where the file of samples is damaged.
        """
        frame: pd.DataFrame = self.table.to_pandas()
        return frame

    @cached_property
    def table(self) -> pa.Table:
        """The samples as an Arrow table."""
        while True:
            parts, _ = read_parts(self.path)
            merged = self.path / "samples.parquet"
            try:
                return merged_table(parts, read_table(merged) if merged.exists() else None)
            except StoreError:
                if all(part.path.exists() for part in parts):
                    raise
                # The writer merged them while we read: look again.

    @property
    def telemetry(self) -> pd.DataFrame:
        """Every reading of the machine beside the run, one a row; empty where nothing was read.

        Columns: case, round, phase (`idle` before the first worker, empty between phases), point,
        time_ns (on the clock of the phases), call_ns, source, device, quantity, value, unit, kind,
        reason.

        Raises:
            StoreError: where the file of readings is damaged.
        """
        import pandas as pd

        # A value that is absent stays absent: not a number would be one.
        kinds = {"double": pd.Float64Dtype()}
        frame: pd.DataFrame = self.telemetry_table.to_pandas(
            types_mapper=lambda kind: kinds.get(str(kind))
        )
        return frame

    @cached_property
    def telemetry_table(self) -> pa.Table:
        """The readings as an Arrow table."""
        while True:
            parts, _ = read_parts(self.path)
            merged = self.path / "telemetry.parquet"
            try:
                found = {part.key: part.telemetry_table() for part in parts}
                tables = {key: table for key, table in found.items() if table is not None}
                return merged_telemetry(tables, read_telemetry(merged) if merged.exists() else None)
            except StoreError:
                if all(part.path.exists() for part in parts):
                    raise
                # The writer merged them while we read: look again.

    @property
    def figures(self) -> pd.DataFrame:
        """One row per statistic of a metric; a case without figures has one row that says why."""
        import pandas as pd

        return pd.DataFrame(figure_rows(self.record), columns=list(_FIGURE_COLUMNS)).astype(
            _FIGURE_COLUMNS
        )

    def log_path(self, case_id: str, round_number: int) -> Path:
        """Return where the log of a round is or would be."""
        return self.path / "logs" / f"{stem(case_id, round_number)}.log"


_FIGURE_COLUMNS = {
    **dict.fromkeys(("case", "model", "backend", "scenario", "dtype", "status"), "string"),
    **dict.fromkeys(("metric", "point", "statistic"), "string"),
    **dict.fromkeys(("value", "low", "high"), "float64"),
    **dict.fromkeys(("unit", "better"), "string"),
    **dict.fromkeys(("n", "processes"), "Int64"),
    **dict.fromkeys(("mbu", "mfu"), "float64"),
    "reason": "string",
}


def figure_rows(record: RunRecord) -> list[dict[str, Any]]:
    """Return the figures as plain rows, absent values as None; every case has at least one row."""
    return [row for case in record.cases for row in _rows_of(case, record)]


def _rows_of(case: CaseRecord, record: RunRecord) -> list[dict[str, Any]]:
    definitions = {metric.name: metric for metric in record.metrics}
    head = {
        "case": case.id,
        "model": case.model,
        "backend": case.backend,
        "scenario": case.scenario,
        "dtype": case.backend_options.get("dtype"),
        "status": case.status,
    }
    rows = []
    for figure in case.figures:
        metric = definitions.get(figure.metric)
        reading = figure.reading
        rows.append(
            dict.fromkeys(_FIGURE_COLUMNS)
            | head
            | figure.model_dump(include={"metric", "point", "statistic"})
            | reading.model_dump(include={"value", "low", "high", "n", "processes", "reason"})
            | {"unit": metric.unit if metric else None, "better": metric.better if metric else None}
            | {"mbu": _share(figure, "MBU"), "mfu": _share(figure, "MFU")}
        )
    if not rows:
        why = case.failure.reason if case.failure else None
        rows.append(dict.fromkeys(_FIGURE_COLUMNS) | head | {"reason": why or case.status})
    return rows


def _share(figure: Figure, name: str) -> float | None:
    use = figure.utilization
    return use.reading.value if use and use.name == name else None


def read_parts(path: Path) -> tuple[list[Part], list[str]]:
    """Return the parts of a run that can be read, and a line for each that cannot."""
    parts: list[Part] = []
    problems: list[str] = []
    for file in sorted((path / "parts").glob("*.npz")):
        try:
            parts.append(Part.read(file))
        except StoreError as error:
            if file.exists():  # else its writer has just merged it
                problems.append(str(error))
    return parts, problems


def _read(path: Path) -> tuple[RunRecord, list[str]]:
    file = path / "run.json"
    # Parts first: if the writer merges them meanwhile, run.json read after it has them.
    parts, problems = read_parts(path)
    try:
        text = file.read_bytes()
    except OSError as error:
        raise StoreError(
            f"cannot be read: {error.strerror}", where=str(file), expected="the folder of a run"
        ) from error
    data = parse_json(text, str(file))
    with contextlib.suppress(KeyError, TypeError, AttributeError):  # to_record says what is wrong
        _lay_parts_over(data, parts)
    return to_record(data, str(file)), problems


def _lay_parts_over(data: dict[str, Any], parts: Sequence[Part]) -> None:
    """Give each case the rounds that lie in parts.

    While a run goes on, parts are newer than run.json. Once it says that the run ended, it holds
    all that was in them, and perhaps more; a part is then only what a kill left behind.
    """
    cases = {case["id"]: case for case in data["cases"]}
    for part in parts:
        case = cases.get(part.case)
        if case is None or part.version != data["schema_version"]:
            continue  # a later harness that resumed the run has merged it already
        rounds = {r["round"]: r for r in case.get("rounds", [])}
        if data["status"] == "running" or part.key[1] not in rounds:
            rounds[part.key[1]] = part.round
        case["rounds"] = [rounds[number] for number in sorted(rounds)]
