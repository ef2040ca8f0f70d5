"""Rows of dots with intervals under common headings: the shape that most questions end in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from harness.pictures import marked
from harness.theme import Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ROW", "DotRow", "dot_rows", "height_of"]

ROW = 0.235
"""Inches from one row to the next."""


@dataclass(frozen=True)
class DotRow:
    """One value with its interval."""

    heading: str
    """Rows of one heading stand together beneath it; empty for none."""
    label: str
    series: int
    value: float
    low: float | None
    high: float | None
    shown: str
    """Written at the end of the row."""
    spoken: str
    """Shown when pointed at."""
    color: str | None = None
    """Another than the series'."""


def height_of(rows: Sequence[DotRow]) -> float:
    """Return the inches that these rows take, without axis and titles."""
    headings = len({row.heading for row in rows if row.heading})
    return ROW * (len(rows) + headings) + 0.15


def dot_rows(axes: Axes, rows: Sequence[DotRow], theme: Theme) -> None:
    """Draw the rows from top to bottom; the axis across is the caller's."""
    places: list[float] = []
    names: list[str] = []
    y = 0.0
    for heading, group in groupby(rows, key=lambda row: row.heading):
        if heading:
            words = axes.annotate(
                heading, xy=(0.01, y), xycoords=("figure fraction", "data"), fontsize=8,
                fontweight="bold", va="center", color=theme.soft, zorder=4, annotation_clip=False,
                bbox={"facecolor": theme.page, "edgecolor": "none", "pad": 1.5},
            )  # fmt: skip
            words.set_in_layout(False)
            y += 1
        for row in group:
            _draw(axes, row, y, theme)
            places.append(y)
            names.append(row.label)
            y += 1
    axes.set_yticks(places, names)
    axes.set_ylim(y - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)


def _draw(axes: Axes, row: DotRow, y: float, theme: Theme) -> None:
    style = theme.style(row.series)
    color = row.color or style.color
    if row.low is not None and row.high is not None:
        marked(
            axes.plot([row.low, row.high], [y, y], color=color, lw=2.2, solid_capstyle="butt")[0],
            row.series,
        )
        ends = axes.plot(
            [row.low, row.high], [y, y], ls="none", marker="|", ms=7, mew=1.4, color=color
        )
        marked(ends[0], row.series)
    face = color if style.filled else theme.page
    dot = axes.plot(
        [row.value],
        [y],
        ls="none",
        marker=style.marker,
        ms=6,
        mfc=face,
        mec=color,
        mew=1.2,
        zorder=3,
    )
    marked(dot[0], row.series, row.spoken)
    axes.annotate(
        row.shown, xy=(1, y), xycoords=("axes fraction", "data"), xytext=(6, 0),
        textcoords="offset points", fontsize=7.5, va="center", annotation_clip=False,
    )  # fmt: skip
