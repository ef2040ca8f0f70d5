"""Samples in long form: one row per timed value, with where, when and what.

While a run goes on, each round is one small NumPy archive that holds its record and its samples,
so that the two cannot disagree and the harness needs no pandas; at the end they become one Parquet
file.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.errors import StoreError
from harness.store.migrate import plain
from harness.store.record import SCHEMA_VERSION, PhaseRecord, RoundRecord
from harness.store.telemetry import Telemetry, telemetry_arrays, telemetry_table

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

__all__ = ["COLUMNS", "Part", "Samples", "dump_part", "merged_table", "parquet_bytes", "read_table"]

Phase = Literal["warmup", "measure", "disturbed"]

COLUMNS = {
    "case": "category",
    "round": "int32",
    "process": "int64",
    "point": "category",
    "phase": "category",
    "iteration": "int32",
    "index": "int32",
    "metric": "category",
    "value": "float64",
}
"""Name and type of each column of `Run.samples` and `samples.parquet`."""


@dataclass(frozen=True, slots=True)
class Samples:
    """What one iteration observed of one metric; `values[i]` has index i, say the i-th gap."""

    point: str
    phase: Phase
    iteration: int
    metric: str
    values: Sequence[float]


@dataclass(frozen=True)
class Part:
    """One round of one case as it lies in `parts/`; its samples are read when asked for."""

    path: Path
    case: str
    round: dict[str, Any]
    """A `RoundRecord` as JSON values, in the schema of `version`."""
    version: int
    names: dict[str, list[str]]
    """What the numbers in the columns point, phase and metric stand for."""
    telemetry: dict[str, Any] | None = None
    """What the numbers of its readings stand for; None where there are none."""

    @classmethod
    def read(cls, path: Path) -> Part:
        """Read a part, without its samples.

        Raises:
            StoreError: where it is not one.
        """
        try:
            header = json.loads(bytes(_array(path, "header")))
            names, telemetry = header["names"], header.get("telemetry")
            return cls(path, header["case"], header["round"], header["version"], names, telemetry)
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError("is not a part of a run", where=str(path)) from error

    @property
    def key(self) -> tuple[str, int]:
        """Which case and round it holds."""
        return self.case, int(self.round["round"])

    def table(self) -> pa.Table:
        """Return its samples; columns as in `COLUMNS`.

        Raises:
            StoreError: where they cannot be read.
        """
        import numpy as np

        values = _array(self.path, "value")
        n = len(values)
        columns: dict[str, Any] = {
            "case": (np.zeros(n, np.int32), [self.case]),
            "round": np.full(n, self.round["round"], np.int32),
            "process": np.full(n, self.round.get("pid") or 0, np.int64),
            "iteration": _array(self.path, "iteration"),
            "index": _array(self.path, "index"),
            "value": values,
        }
        for name, known in self.names.items():
            columns[name] = (_array(self.path, name), known)
        return _table(columns)

    def telemetry_table(self) -> pa.Table | None:
        """Return its readings, None where it has none; columns as in `TELEMETRY_COLUMNS`.

        Raises:
            StoreError: where they cannot be read.
        """
        if self.telemetry is None:
            return None
        phases = [PhaseRecord.model_validate(p) for p in self.round.get("phases", [])]
        return telemetry_table(partial(_array, self.path), self.telemetry, *self.key, phases)


def dump_part(
    case_id: str,
    record: RoundRecord,
    samples: Iterable[Samples],
    telemetry: Telemetry | None = None,
) -> bytes:
    """Return the bytes of a part: one round's record, samples and telemetry."""
    import numpy as np

    names: dict[str, dict[str, int]] = {"point": {}, "phase": {}, "metric": {}}
    columns: dict[str, list[Any]] = {"point": [], "phase": [], "metric": [], "iteration": []}
    values: list[np.ndarray] = []
    for sample in samples:
        values.append(np.asarray(sample.values, np.float64).reshape(-1))
        for name, codes in names.items():
            columns[name].append(codes.setdefault(getattr(sample, name), len(codes)))
        columns["iteration"].append(sample.iteration)
    lengths = [len(v) for v in values]
    header = {
        "case": case_id,
        "round": plain(record.model_dump()),
        "version": SCHEMA_VERSION,
        "names": {name: list(codes) for name, codes in names.items()},
    }
    arrays = {
        name: np.repeat(np.asarray(column, np.int32), lengths) for name, column in columns.items()
    }
    arrays["index"] = np.concatenate(
        [np.arange(n, dtype=np.int32) for n in lengths] or [_none(np.int32)]
    )
    arrays["value"] = np.concatenate(values or [_none(np.float64)])
    if telemetry is not None:
        readings, header["telemetry"] = telemetry_arrays(telemetry)
        arrays |= readings
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def merged_table(parts: Iterable[Part], earlier: pa.Table | None) -> pa.Table:
    """Return all samples; a round in a part and in `earlier` counts once, as in its part."""
    import pyarrow as pa
    import pyarrow.compute as pc

    parts = sorted(parts, key=lambda part: (part.key[1], part.key[0]))
    tables = [part.table() for part in parts]
    if earlier is not None and parts:
        keep = pa.array([True] * earlier.num_rows, pa.bool_())
        cases = earlier["case"].cast(pa.string())
        for part in parts:
            case, number = part.key
            same = pc.and_(pc.equal(cases, case), pc.equal(earlier["round"], number))
            keep = pc.and_(keep, pc.invert(same))
        earlier = earlier.filter(keep)
    if earlier is not None:
        tables.insert(0, earlier)
    return pa.concat_tables(tables).unify_dictionaries() if tables else _table({})


def parquet_bytes(table: pa.Table) -> bytes:
    """Return a table as the bytes of a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    data: bytes = sink.getvalue().to_pybytes()
    return data


def read_table(path: Path) -> pa.Table:
    """Read `samples.parquet`.

    Raises:
        StoreError: where it is damaged or holds something else.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, partitioning=None)
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"cannot be read: {error}", where=str(path)) from error
    if table.column_names != list(COLUMNS):
        raise StoreError("does not hold samples", where=str(path), expected=", ".join(COLUMNS))
    return table


def _table(columns: dict[str, Any]) -> pa.Table:
    """Build a table with the columns of `COLUMNS`; a category is (codes, names)."""
    import numpy as np
    import pyarrow as pa

    arrays = []
    for name, kind in COLUMNS.items():
        if kind == "category":
            codes, names = columns.get(name, (_none(np.int32), []))
            arrays.append(
                pa.DictionaryArray.from_arrays(
                    pa.array(codes, pa.int32()), pa.array(names, pa.string())
                )
            )
        else:
            arrays.append(pa.array(columns.get(name, _none(np.dtype(kind)))))
    return pa.Table.from_arrays(arrays, names=list(COLUMNS))


def _none(dtype: Any) -> np.ndarray:
    import numpy as np

    return np.empty(0, dtype)


_DAMAGE = (
    OSError, ValueError, KeyError, EOFError, MemoryError, NotImplementedError, RuntimeError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What NumPy and zipfile raise for an archive with wrong bytes in it."""


def _array(path: Path, name: str) -> np.ndarray:
    import numpy as np

    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            array: np.ndarray = archive[name]
            return array
    except _DAMAGE as error:
        raise StoreError(f"is not a part of a run: {error}", where=str(path)) from error
