"""Whether the tokens are right: every case's error against the float32 reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any, ClassVar

from harness.contracts import Chart
from harness.pictures import marked
from harness.shown import number
from harness.store.record import CheckRecord
from harness.theme import powers
from reports.charts.tidy import WHICH, Seen, frame, named, records, seen

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from harness.store import Run
    from harness.theme import Theme

__all__ = ["CorrectnessChart"]

_QUANTITIES = {
    "max_logit_error": "largest logit error, σ of the reference",
    "max_kl": "largest KL divergence, nats",
}
_LEAST = 1e-15
"""Drawn for an error of exactly zero, which a logarithmic axis has no place for."""


class CorrectnessChart(Chart):
    """Logit error and KL divergence by backend and precision, with what was allowed."""

    question: ClassVar[str] = "Are the tokens right?"
    order: ClassVar[int] = 15
    needs: ClassVar[str] = "cases that were checked against the reference"
    measured: ClassVar[str] = (
        "Logits of each session are compared with the float32 eager reference, teacher-forced over "
        "fixed prompts before anything is timed; tokens that were made while timed are scored with "
        "it afterwards. Dots are the median over processes, lines go from the least to the most. "
        "The bar across is what this precision is allowed, which comes from eager's own error. A "
        "case beyond it is incorrect and has no speed at all."
    )
    columns: ClassVar[Mapping[str, str]] = {
        **WHICH,
        "dtype": "precision",
        "quantity": "max_logit_error (σ of the reference's logits) or max_kl (nats)",
        "value": "median over checks before timing; audits see tokens, not logits",
        "low": "least",
        "high": "most",
        "allowed": "tolerance; missing where none was stated",
        "passed": "whether every check passed",
        "top1": "least share of positions with the reference's token, 0 to 1",
        "positions": "positions compared in all",
        "n": "checks",
        "processes": "fresh processes",
    }

    def data(self, runs: Sequence[Run]) -> pd.DataFrame:
        """Return a row per series and quantity; all scenarios of a series count together."""
        groups: dict[int, list[Seen]] = {}
        for one in seen(runs):
            groups.setdefault(one.which["series"], []).append(one)
        return frame([row for group in groups.values() for row in _errors(group)], self.columns)

    def title(self, data: pd.DataFrame) -> str:
        """Say whether all passed, or name who did not."""
        wrong = list(dict.fromkeys(data.loc[~data["passed"].astype(bool), "label"]))
        if wrong:
            return f"{', '.join(wrong)}: tokens are wrong, so no speed is given"
        top1 = float(data["top1"].min())
        agree = (
            "every token agrees" if top1 == 1 else f"at least {100 * top1:.4g} % of tokens agree"
        )
        positions = int(data.drop_duplicates("series")["positions"].sum())
        return (
            f"{agree[0].upper()}{agree[1:]} with the float32 reference over {positions:,} positions"
        )

    def alt(self, data: pd.DataFrame) -> str:
        """Read errors and tolerances out."""
        said = [
            f"{r['label']} {r['quantity']} {number(r['value'])}"
            + (f" of {number(r['allowed'])} allowed" if r["allowed"] else "")
            for r in records(data)[:16]
        ]
        return f"Dots of errors on a logarithmic axis. {'; '.join(said)}."

    def draw(self, data: pd.DataFrame, theme: Theme) -> Figure:
        """Draw a panel per quantity, a row per series."""
        shown = [q for q in _QUANTITIES if (data["quantity"] == q).any()]
        count = data["series"].nunique()
        across = 1 if theme.narrow else len(shown)
        down = len(shown) if theme.narrow else 1
        figure, axes = theme.axes(
            down, across, height=(0.27 * count + 0.75) * down + 0.25, sharey=not theme.narrow
        )
        for each, quantity in zip(axes, shown, strict=True):
            _panel(each, records(data[data["quantity"] == quantity]), theme)
            each.set_xlabel(_QUANTITIES[quantity])
        counts = [int(n) for n in data["n"]]
        words = (
            f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
        )
        theme.note(
            figure, f"lines: least to most; tall bar: what is allowed; n = {words} checks a row"
        )
        return figure


def _panel(axes: Axes, rows: Sequence[Mapping[str, Any]], theme: Theme) -> None:
    floor = min([v for r in rows for v in (r["low"], r["allowed"]) if v] or [1e-6])
    for y, row in enumerate(rows):
        style = theme.style(row["series"])
        color = style.color if row["passed"] else theme.bad
        low, value, high = (max(row[c], floor / 3, _LEAST) for c in ("low", "value", "high"))
        marked(
            axes.plot([low, high], [y, y], color=color, lw=2.2, solid_capstyle="butt")[0],
            row["series"],
        )
        dot = axes.plot(
            [value], [y], ls="none", marker=style.marker, ms=6, mec=color, zorder=3,
            mfc=color if style.filled else theme.page,
        )  # fmt: skip
        words = f"{named(row)}: {number(row['value'])}"
        marked(
            dot[0],
            row["series"],
            words + (f", allowed {number(row['allowed'])}" if row["allowed"] else ""),
        )
        if row["allowed"]:
            axes.plot([row["allowed"]] * 2, [y - 0.36, y + 0.36], color=theme.ink, lw=2.4)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(powers)
    axes.minorticks_off()
    axes.set_xlim(left=floor / 4)
    axes.set_yticks(range(len(rows)), [named(row) for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)


def _errors(group: Sequence[Seen]) -> Iterator[dict[str, Any]]:
    rounds = [r for one in group for r in one.case.rounds]
    checks: list[CheckRecord] = [c for r in rounds for c in (r.check, r.audit) if c is not None]
    # An audit sees tokens and no logits: its errors are not zero, they are not known.
    compared = [r.check for r in rounds if r.check is not None]
    if not compared:
        return
    for quantity in _QUANTITIES:
        values = [float(getattr(check, quantity)) for check in compared]
        allowed = [t for c in checks if (t := c.tolerance.get(quantity)) is not None]
        yield {
            **group[0].which,
            "scenario": "",
            "dtype": group[0].case.backend_options.get("dtype"),
            "quantity": quantity,
            "value": median(values),
            "low": min(values),
            "high": max(values),
            "allowed": min(allowed) if allowed else None,
            "passed": all(check.passed for check in checks),
            "top1": min(check.top1_agreement for check in checks),
            "positions": sum(check.positions for check in checks),
            "n": len(compared),
            "processes": len({r.pid for r in rounds if r.pid}) or None,
        }
