"""Lines with intervals over batch, context or time, and the legend beneath them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.pictures import marked
from harness.shown import quantity
from harness.theme import Theme
from reports.charts.tidy import named

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

__all__ = ["batch_axis", "bytes_axis", "curve", "legend", "scaled"]

_FAR = 20.0
"""From so many times on between the ends, equal ratios are drawn equally long."""


def curve(
    axes: Axes,
    rows: Sequence[Mapping[str, Any]],
    x: str,
    theme: Theme,
    words: Sequence[str],
    *,
    joined: bool = True,
) -> None:
    """Draw one series: `x`, value, low and high of each row, with the words of each point."""
    style = theme.style(rows[0]["series"])
    series = rows[0]["series"]
    xs, ys = [r[x] for r in rows], [r["value"] for r in rows]
    if joined:
        line = axes.plot(xs, ys, color=style.color, ls=style.dash, lw=1.5, zorder=2)
        marked(line[0], series, named(rows[0]))
    for row in rows:
        if row["low"] is not None:
            span = axes.plot(
                [row[x]] * 2, [row["low"], row["high"]], color=style.color, lw=1.6, marker="_", ms=5
            )
            marked(span[0], series)
    face = style.color if style.filled else theme.page
    for row, said in zip(rows, words, strict=True):
        dot = axes.plot(
            [row[x]], [row["value"]], ls="none", marker=style.marker, ms=5.5,
            mfc=face, mec=style.color, zorder=3,
        )  # fmt: skip
        marked(dot[0], series, said)
    # What the legend shows: line and mark together.
    axes.plot(
        [], [], color=style.color, ls=style.dash if joined else "none", marker=style.marker,
        ms=5.5, mfc=face, mec=style.color, label=named(rows[0]),
    )  # fmt: skip


def scaled(axes: Axes, which: str, values: Iterable[Any], ends: Iterable[Any] = ()) -> None:
    """Let an axis, `x` or `y`, begin at zero, or be logarithmic where its values lie far apart."""
    from matplotlib.ticker import NullLocator

    known = [float(v) for v in values if v is not None]
    axis = axes.xaxis if which == "x" else axes.yaxis
    if min(known) > 0 and max(known) >= _FAR * min(known):
        axes.set(**{f"{which}scale": "log", f"{which}lim": (min(known) / 1.5, 1.5 * max(known))})
        axis.set_minor_locator(NullLocator())
    else:
        axes.set(**{f"{which}lim": (0, _reach(known, ends))})
    axis.set_major_formatter(lambda v, _: f"{v:,g}")


def _reach(values: Iterable[Any], ends: Iterable[Any] = ()) -> float:
    """Return how far an axis from zero goes: an interval of enormous width must not hide the rest.

    Args:
        values: What must be in sight.
        ends: What should be, up to twice the largest value.
    """
    most = max(float(v) for v in values if v is not None)
    far = [float(v) for v in ends if v is not None and v == v]
    return 1.06 * min(max([most, *far]), 2 * most)


def batch_axis(axes: Axes, values: Iterable[int], words: str = "batch, rows") -> None:
    """Let the axis across double from tick to tick, labelled where there is a figure."""
    ticks = sorted({int(v) for v in values})
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_xlim(ticks[0] / 1.15, ticks[-1] * 1.15)
    axes.set_xlabel(words)


def bytes_axis(axis: Axis, most: float, ticks: int) -> None:
    """Label an axis in KiB, MiB, … at steps of a power of two, at most `ticks` up to `most`."""
    from matplotlib.ticker import MultipleLocator

    axis.set_major_locator(MultipleLocator(2.0 ** math.ceil(math.log2(max(most / ticks, 1)))))
    axis.set_major_formatter(lambda v, _: quantity(v, "bytes"))


def legend(axes: Axes, theme: Theme, *, dotted: str = "", ring: str = "", columns: int = 3) -> None:
    """Name the series above the axes, and what dotted lines and rings stand for."""
    if dotted:
        axes.plot([], [], color=theme.soft, lw=0.9, ls=(0, (2, 2)), label=dotted)
    if ring:
        axes.plot([], [], "o", ms=10, mfc="none", mec=theme.soft, label=ring)
    handles, labels = axes.get_legend_handles_labels()
    entries = dict(zip(labels, handles, strict=True))  # a series is named once
    most = 2 if theme.narrow else columns
    axes.legend(
        entries.values(), entries.keys(),
        loc="lower left", bbox_to_anchor=(0, 1.01), borderaxespad=0, columnspacing=1.4,
        ncols=1 if theme.narrow and columns < 4 else min(len(entries), most),
        handlelength=2.2,
    )  # fmt: skip
