"""A row in words, the same in every output."""

from __future__ import annotations

from harness.gate.judgement import Row
from harness.shown import printable, quantity

__all__ = ["cell", "percent", "sentence", "values"]


def cell(text: str) -> str:
    """Return text that cannot break a table of Markdown."""
    safe = printable(text, 600)
    for char in "\\|<>`*_[]":
        safe = safe.replace(char, f"\\{char}")
    return safe


def percent(row: Row) -> str:
    """Return `+5.1 % [+3.9, +6.3]`, the candidate against the base; empty where unknown."""
    if row.ratio is None:
        return ""
    said = f"{_percent(row.ratio)} %"
    if row.low is not None and row.high is not None and row.low != row.high:
        said += f" [{_percent(row.low)}, {_percent(row.high)}]"
    return said


def values(row: Row) -> str:
    """Return `27.4 ms -> 28.8 ms`; empty where one is unknown."""
    if row.base is None or row.cand is None:
        return ""
    return f"{quantity(row.base, row.unit)} -> {quantity(row.cand, row.unit)}"


def sentence(row: Row) -> str:
    """Return all there is to say of a row in one line."""
    figures = ", ".join(filter(None, [values(row), percent(row)]))
    return ": ".join(filter(None, [f"{row.case} {row.name}", figures, row.reason]))


def _percent(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.1f}"
