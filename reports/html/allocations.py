"""Memory over time as a picture: who holds how much, phase by phase."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.charts import LIGHT
from harness.pictures import svg
from harness.shown import printable, quantity
from reports.charts.curves import bytes_axis, legend

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from harness.profiling.record import Timeline
    from harness.theme import Theme

__all__ = ["allocations"]


def allocations(found: Timeline, prefix: str, *, slim: bool) -> str:
    """Return the picture as SVG, its colours the page's.

    Args:
        found: What to draw.
        prefix: Begins every id: another for each picture of a page.
        slim: For a phone.
    """
    theme = LIGHT.narrowed() if slim else LIGHT
    totals = [sum(moment) for moment in zip(*found.bytes, strict=True)]
    most = max(totals)
    names = [*map(_short, found.owners), "others"]
    peak = totals.index(most)
    at_peak = ", ".join(
        f"{name} {quantity(row[peak], 'bytes')}"
        for name, row in zip(names, found.bytes, strict=True)
    )
    label = f"Tensors over time, at most {quantity(most, 'bytes')}: {at_peak}."
    with theme.applied():
        figure = _figure(found, names, most, theme)
        return svg(figure, prefix=prefix, label=label, colors=LIGHT.names)


def _figure(found: Timeline, names: list[str], most: int, theme: Theme) -> Figure:
    figure, (axes,) = theme.axes(height=3.4 if theme.narrow else 2.8)
    end = max([found.ms[-1], *(since for _, since in found.phases)])
    times = [*found.ms, end]
    below = [0.0] * len(times)
    for place, (name, row) in enumerate(zip(names, found.bytes, strict=True)):
        above = [b + v for b, v in zip(below, [*row, row[-1]], strict=True)]
        color = theme.rule if name == names[-1] else theme.series[place % len(theme.series)]
        axes.fill_between(times, below, above, step="post", color=color, lw=0, label=name)
        below = above
    axes.step(times, below, where="post", color=theme.ink, lw=0.7)
    for name, since in found.phases:
        axes.axvline(since, color=theme.soft, lw=0.6, ls=(0, (2, 2)))
        axes.annotate(
            name, (since, 1), xycoords=("data", "axes fraction"), xytext=(2, -1),
            textcoords="offset points", fontsize=7, color=theme.soft, va="top", rotation=90,
        )  # fmt: skip
    axes.set_xlim(0, end * 1.01 or 1)
    axes.set_ylim(0, 1.4 * most or 1)
    axes.set_xlabel("time, ms (slower than unwatched)")
    axes.set_ylabel("tensors")
    bytes_axis(axes.yaxis, 1.4 * most, 6)
    legend(axes, theme, columns=2)
    return figure


def _short(owner: str) -> str:
    """Return `cache.py:41 (step)`: an owner without its folders.

    One that begins with an underscore keeps its last: matplotlib hides such names, and nobody would
    know which `__init__.py` is meant.
    """
    folders, _, name = owner.rpartition("/")
    if name.startswith("_"):
        name = f"{folders.rpartition('/')[2]}/{name}"
    return printable(name, 48) or "unknown"
