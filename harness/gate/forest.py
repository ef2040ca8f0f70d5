"""A ratio and its interval as a line of characters: `  ··│├──●──┤│··`, the margin marked.

It must not know what is compared; it draws log ratios.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.gate.judgement import Row

__all__ = ["forest", "reach"]

_LEAST = 0.02
_MOST = math.log(2)
"""Ratios beyond half and twice are drawn at the edge."""


def reach(rows: Sequence[Row]) -> float:
    """Return the log ratio at the edges of a plot that shows all rows."""
    seen = [abs(math.log(x)) for r in rows for x in (r.ratio, r.low, r.high) if x and x > 0]
    margins = [1.5 * math.log1p(r.margin) for r in rows if r.margin]
    return min(max([_LEAST, *seen, *margins]), _MOST)


def forest(row: Row, edge: float, width: int = 25) -> str:
    """Return one row's line, `width` characters, no change in the middle; empty without a ratio."""
    if row.ratio is None or row.ratio <= 0:
        return " " * width
    half = (width - 1) // 2

    def at(ratio: float) -> int:
        where = round(half + half * math.log(ratio) / edge) if ratio > 0 else 0
        return min(max(where, 0), 2 * half)

    cells = ["·"] * (2 * half + 1)
    if row.margin:
        for side in (1 + row.margin, 1 / (1 + row.margin)):
            cells[at(side)] = "┆"
    cells[half] = "│"
    if row.low is not None and row.high is not None:
        first, last = at(row.low), at(row.high)
        for cell in range(first, last + 1):
            cells[cell] = "─"
        cells[first], cells[last] = "├", "┤"
    cells[at(row.ratio)] = "●"
    return "".join(cells).ljust(width)
