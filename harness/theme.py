"""How charts look: colours, sizes and marks that hold in light, dark, grey, on paper and on phones.

A series keeps its colour and mark in every chart of a report. Colours are far apart for the common
forms of colour blindness (after Okabe and Ito, darkened until they stand out from the page by 3:1);
marks and dashes tell series apart where there is no colour at all. It must not know any chart.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["DARK", "GREY", "LIGHT", "THEMES", "Style", "Theme", "powers"]

_MARKERS = "osD^vPX"
_DASHES: tuple[Any, ...] = ("solid", (0, (5, 2)), (0, (1.5, 1.5)), (0, (5, 1.5, 1, 1.5)))
_SOLID, _DASHED = _DASHES[:2]
WIDE, NARROW = 7.2, 3.5
"""Width in inches: a page or desk, and a phone or a paper's column."""


@dataclass(frozen=True)
class Style:
    """How one series is drawn, everywhere."""

    color: str
    marker: str
    dash: Any
    filled: bool
    """Whether its marks are full; hollow once all marks are used."""


@dataclass(frozen=True)
class Theme:
    """Colours by what they are for, and the width that a figure may take."""

    name: str
    ink: str
    """Words and frames."""
    soft: str
    """Words that matter less."""
    rule: str
    """Grid lines."""
    page: str
    """What a figure lies on."""
    panel: str
    """Bands that stand back."""
    bad: str
    good: str
    series: tuple[str, ...]
    width: float = WIDE
    """Inches."""

    @property
    def narrow(self) -> bool:
        """Whether there is no room for things side by side."""
        return self.width < 5

    def narrowed(self) -> Theme:
        """Return the theme for a phone's width."""
        return replace(self, width=NARROW)

    def style(self, series: int) -> Style:
        """Return how the n-th series of a report is drawn."""
        lap, place = divmod(series, len(self.series))
        return Style(
            color=self.series[place],
            marker=_MARKERS[place % len(_MARKERS)],
            dash=_DASHES[(place + lap) % len(_DASHES)] if self.name == "grey" else _DASHES[lap % 4],
            filled=lap % 2 == 0,
        )

    @property
    def names(self) -> dict[str, str]:
        """Return what each colour is for, by colour: a page can then put its own in its place."""
        named = {
            getattr(self, n): n for n in ("ink", "soft", "rule", "page", "panel", "bad", "good")
        }
        return named | {color: f"c{place}" for place, color in enumerate(self.series)}

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let all that matplotlib makes meanwhile look like this."""
        import matplotlib as mpl

        with mpl.rc_context(self._settings()):
            yield

    def axes(
        self, rows: int = 1, columns: int = 1, *, height: float, **options: Any
    ) -> tuple[Figure, list[Axes]]:
        """Return a new figure of this theme's width, and its axes row by row."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(self.width, height), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False, **options)
        return figure, list(grid.flat)

    def note(self, figure: Figure, words: str) -> None:
        """Write beneath a figure what its reader must know: how many samples, what a bar is."""
        figure.supxlabel(
            _wrapped(words, self.width, 7.0), fontsize=7, color=self.soft, ha="left", x=0.01
        )

    def title(self, figure: Figure, words: str) -> None:
        """Write the finding above a figure."""
        figure.suptitle(
            _wrapped(words, self.width, 10.5), fontsize=10.5, fontweight="bold", ha="left", x=0.01
        )

    def _settings(self) -> dict[Any, Any]:
        return {
            "figure.facecolor": self.page,
            "axes.facecolor": "none",
            "savefig.facecolor": self.page,
            "text.color": self.ink,
            "text.parse_math": False,  # a name with $ in it is a name
            "axes.labelcolor": self.ink,
            "axes.edgecolor": self.soft,
            "axes.linewidth": 0.7,
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 9,
            "axes.titlelocation": "left",
            "axes.titleweight": "bold",
            "axes.labelsize": 8.5,
            "axes.unicode_minus": True,
            "grid.color": self.rule,
            "grid.linewidth": 0.6,
            "xtick.color": self.soft,
            "ytick.color": self.soft,
            "xtick.labelcolor": self.ink,
            "ytick.labelcolor": self.ink,
            "xtick.labelsize": 8,
            "ytick.labelsize": 8,
            "xtick.minor.visible": False,
            "legend.frameon": False,
            "legend.fontsize": 8,
            "font.family": "DejaVu Sans",
            "font.size": 8.5,
            "lines.linewidth": 1.6,
            "lines.markersize": 5,
            "hatch.linewidth": 0.6,
            "hatch.color": self.page,
            "path.simplify": True,
            "figure.constrained_layout.h_pad": 0.05,
            "figure.constrained_layout.w_pad": 0.05,
        }


def powers(value: float, _: object = None) -> str:
    """Return a tick of a logarithmic axis as words: `10⁻³`, without a formula's mark-up."""
    power = round(math.log10(value))
    return f"10{str(power).translate(_RAISED)}" if abs(value / 10.0**power - 1) < 1e-6 else ""


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def _wrapped(words: str, width: float, size: float) -> str:
    """Break lines where a figure ends: DejaVu Sans is about 0.58 em wide."""
    import textwrap

    return "\n".join(textwrap.wrap(words, max(int(width * 72 / (0.58 * size)), 10)))


LIGHT = Theme(
    name="light", ink="#1b1f24", soft="#5b6570", rule="#d9dee4", page="#ffffff", panel="#f1f4f7",
    bad="#b3261e", good="#1a6e3a",
    series=("#0b63c5", "#c2500a", "#00795c", "#a3327f", "#8a6200", "#3b7f9e", "#5c4fc4"),
)  # fmt: skip
DARK = Theme(
    name="dark", ink="#e6e9ec", soft="#a3aeb9", rule="#333b44", page="#14181c", panel="#1d242a",
    bad="#ff8a80", good="#7fd19b",
    series=("#6cb0ff", "#ff9d5c", "#3fcf9f", "#f08cc8", "#e6b450", "#8ad0ee", "#b3a9ff"),
)  # fmt: skip
GREY = Theme(
    name="grey", ink="#111111", soft="#555555", rule="#dadada", page="#fefefe", panel="#f2f2f2",
    bad="#000000", good="#333333",
    series=("#1a1a1a", "#6e6e6e", "#3d3d3d", "#8a8a8a", "#2b2b2b", "#7c7c7c", "#4f4f4f"),
)  # fmt: skip
THEMES = {theme.name: theme for theme in (LIGHT, DARK, GREY)}
