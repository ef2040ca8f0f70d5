"""Tables of a page: every cell as its reader sees it, and as a number to sort by."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.shown import number, quantity

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Cell", "Column", "Table", "as_json", "dumped", "table_of"]

_HIDDEN = {"run", "run_id", "case", "series", "backend", "kind"}
_IN_UNIT = {"value", "low", "high", "base_value"}
_SHARES = {"mbu", "share", "top1"}
_RATIOS = {"times_better", "times_low", "times_high", "ratio"}
_UNITS = (
    (", ms", "ms"), ("bytes/s", "bytes/s"), ("FLOP/s", "FLOP/s"), ("tokens/s", "tokens/s"),
    ("bytes ", "bytes"), (", bytes", "bytes"), (", s", "s"), ("seconds", "s"),
)  # fmt: skip
"""What a column's description says of its unit."""


@dataclass(frozen=True)
class Column:
    """A heading, and what it means."""

    name: str
    meaning: str
    numeric: bool


@dataclass(frozen=True)
class Cell:
    """What is shown, and what it is sorted by where that is a number."""

    text: str
    value: float | None = None


@dataclass(frozen=True)
class Table:
    """Columns, and rows with the series each belongs to."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, tuple[Cell, ...]], ...]


def table_of(data: pd.DataFrame, columns: Mapping[str, str]) -> Table:
    """Return a chart's table for reading: columns without any value are left out."""
    shown = [
        name
        for name in data.columns
        if name not in _HIDDEN and not data[name].isna().all() and not (data[name] == "").all()
    ]
    rows = data.to_dict("records")
    return Table(
        tuple(
            Column(name.replace("_", " "), columns.get(str(name), ""), _is_number(data[name]))
            for name in shown
        ),
        tuple(
            (row.get("series", ""), tuple(_cell(name, row, columns) for name in shown))
            for row in rows
        ),
    )


def as_json(data: pd.DataFrame) -> dict[str, list[Any]]:
    """Return a table by column, numbers to six digits, missing values as null."""
    return {str(name): [_plain(value) for value in data[name]] for name in data.columns}


def _plain(value: Any) -> Any:
    if hasattr(value, "item"):
        value = value.item()
    if value is None or value != value:
        return None
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _is_number(column: pd.Series[Any]) -> bool:
    return bool(column.dtype.kind in "iuf")


def _cell(name: str, row: Mapping[Any, Any], columns: Mapping[str, str]) -> Cell:
    value = _plain(row[name])
    if value is None:
        return Cell("")
    if isinstance(value, bool):
        return Cell("yes" if value else "no")
    if not isinstance(value, int | float):
        return Cell(str(value))
    return Cell(_words(name, value, row, columns.get(name, "")), float(value))


def _words(name: str, value: float, row: Mapping[Any, Any], meaning: str) -> str:
    if name in _SHARES:
        return f"{100 * value:.3g} %"
    if name in _RATIOS:
        return f"{value:.3f}"
    if name in _IN_UNIT and isinstance(row.get("unit"), str):
        return quantity(value, row["unit"])
    unit = next((unit for words, unit in _UNITS if words in f"{meaning} "), None)
    if unit is not None and name not in ("n", "processes", "batch", "point"):
        return quantity(value, unit)
    return f"{value:,}" if isinstance(value, int) else number(value)


def dumped(document: Any) -> str:
    """Return JSON that no HTML parser can take for a tag's end."""
    text = json.dumps(document, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
