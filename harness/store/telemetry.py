"""Telemetry in long form: one row per reading, with what it is of and the phase it was made in.

While a run goes on a round's readings lie in its part, beside its samples; at the end all become
`telemetry.parquet`. It must not know where readings come from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import StoreError
from harness.store.record import PhaseRecord

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = [
    "IDLE",
    "TELEMETRY_COLUMNS",
    "SeriesKey",
    "Telemetry",
    "merged_telemetry",
    "read_telemetry",
    "telemetry_arrays",
    "telemetry_table",
]

TELEMETRY_COLUMNS = {
    "case": "category",
    "round": "int32",
    "phase": "category",
    "point": "category",
    "time_ns": "int64",
    "call_ns": "int64",
    "source": "category",
    "device": "category",
    "quantity": "category",
    "value": "float64",
    "unit": "category",
    "kind": "category",
    "reason": "category",
}
"""Name and type of each column of `Run.telemetry` and `telemetry.parquet`.

`time_ns` is the middle of the call, on the monotonic clock of the phases; `call_ns` is how long the
call took. `value` is null where `reason` says why.
"""

IDLE = "idle"
"""The phase of readings that were made before the first worker started."""


@dataclass(frozen=True, slots=True)
class SeriesKey:
    """What a series of readings is of."""

    source: str
    """The sampler."""
    device: str
    quantity: str
    unit: str
    kind: str
    """gauge, counter or state."""


@dataclass(frozen=True)
class Telemetry:
    """The readings of one visit, as columns: row i is of `series[which[i]]`."""

    series: tuple[SeriesKey, ...]
    which: NDArray[np.int32]
    time_ns: NDArray[np.int64]
    call_ns: NDArray[np.int64]
    value: NDArray[np.float64]
    """Not a number where `why` is not negative; nobody sees it."""
    why: NDArray[np.int32]
    """Place in `reasons`, or -1."""
    reasons: tuple[str, ...]
    idle_ns: tuple[int, int] | None = None
    """From when to when the machine was idle on purpose."""


_ARRAYS = ("which", "time_ns", "call_ns", "value", "why")


def telemetry_arrays(telemetry: Telemetry) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a visit's readings as arrays for a part, and what its header says of them."""
    arrays = {f"telemetry_{name}": getattr(telemetry, name) for name in _ARRAYS}
    series = [[s.source, s.device, s.quantity, s.unit, s.kind] for s in telemetry.series]
    reasons = list(telemetry.reasons)
    return arrays, {"series": series, "reasons": reasons, "idle_ns": telemetry.idle_ns}


def telemetry_table(
    array: Callable[[str], NDArray[Any]],
    header: Mapping[str, Any],
    case: str,
    number: int,
    phases: Sequence[PhaseRecord],
) -> pa.Table:
    """Return what a part holds as a table; columns as in `TELEMETRY_COLUMNS`.

    Args:
        array: Reads an array of the part by name.
        header: What `telemetry_arrays` said of them.
        case: Id of the case.
        number: Of the round.
        phases: Of the round; what lies in none of them was read while its process began or ended.
    """
    import numpy as np

    found = {name: array(f"telemetry_{name}") for name in _ARRAYS}
    which, n = found["which"], len(found["which"])
    series = header["series"]
    columns: dict[str, Any] = {
        "case": (np.zeros(n, np.int32), [case]),
        "round": np.full(n, number, np.int32),
        "time_ns": found["time_ns"],
        "call_ns": found["call_ns"],
        "value": (found["value"], found["why"] >= 0),
        "reason": (found["why"], list(header["reasons"])),
    }
    if idle := header["idle_ns"]:
        phases = [PhaseRecord(name=IDLE, start_ns=idle[0], end_ns=idle[1]), *phases]
    place = _phase_of(found["time_ns"], phases)
    columns["phase"] = (place, ["", *(p.name for p in phases)])
    columns["point"] = (place, ["", *(p.point for p in phases)])
    for position, name in enumerate(("source", "device", "quantity", "unit", "kind")):
        columns[name] = (which, [each[position] for each in series])
    return _table(columns)


def _phase_of(time_ns: NDArray[np.int64], phases: Sequence[PhaseRecord]) -> NDArray[np.int32]:
    """Return 1 + the place of the phase that each time lies in, 0 where in none."""
    import numpy as np

    place = np.zeros(len(time_ns), np.int32)
    for number, phase in enumerate(phases):
        place[(time_ns >= phase.start_ns) & (time_ns < phase.end_ns)] = number + 1
    return place


def _table(columns: Mapping[str, Any]) -> pa.Table:
    """Build a table; a category is (codes, names), where a negative code is null."""
    import numpy as np
    import pyarrow as pa

    arrays = []
    for name, kind in TELEMETRY_COLUMNS.items():
        if kind == "category":
            codes, names = columns.get(name, (np.empty(0, np.int32), []))
            known = list(dict.fromkeys(names))
            renamed = np.array([known.index(each) for each in names] or [0], np.int32)
            codes = np.where(codes >= 0, renamed[codes], -1).astype(np.int32)
            indices = pa.array(codes, pa.int32(), mask=codes < 0)
            arrays.append(pa.DictionaryArray.from_arrays(indices, pa.array(known, pa.string())))
        elif name == "value":
            values, mask = columns.get(name, (np.empty(0), np.empty(0, bool)))
            arrays.append(pa.array(values, pa.float64(), mask=mask))
        else:
            arrays.append(pa.array(columns.get(name, np.empty(0, np.dtype(kind)))))
    return pa.Table.from_arrays(arrays, names=list(TELEMETRY_COLUMNS))


def merged_telemetry(
    tables: Mapping[tuple[str, int], pa.Table], earlier: pa.Table | None
) -> pa.Table:
    """Return all readings; a round that is among `tables` and in `earlier` counts once, as new."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kept = []
    if earlier is not None:
        keep = pa.array([True] * earlier.num_rows, pa.bool_())
        cases = earlier["case"].cast(pa.string())
        for case, number in tables:
            same = pc.and_(pc.equal(cases, case), pc.equal(earlier["round"], number))
            keep = pc.and_(keep, pc.invert(same))
        kept.append(earlier.filter(keep))
    kept += [tables[key] for key in sorted(tables, key=lambda key: (key[1], key[0]))]
    return pa.concat_tables(kept).unify_dictionaries() if kept else _table({})


def read_telemetry(path: Path) -> pa.Table:
    """Read `telemetry.parquet`.

    Raises:
        StoreError: where it is damaged or holds something else.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, partitioning=None)
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"cannot be read: {error}", where=str(path)) from error
    if table.column_names != list(TELEMETRY_COLUMNS):
        raise StoreError(
            "does not hold telemetry", where=str(path), expected=", ".join(TELEMETRY_COLUMNS)
        )
    return table
