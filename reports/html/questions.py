"""Questions of a page: every chart that the runs have data for, drawn twice; the others by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.charts import LIGHT, charts
from harness.contracts import Chart
from harness.pictures import svg
from harness.shown import printable
from reports.html.tables import Table, as_json, table_of

if TYPE_CHECKING:
    import pandas as pd

    from harness.store import Run

__all__ = ["Absent", "Question", "questions"]


@dataclass(frozen=True)
class Question:
    """One chart with all that stands around it."""

    name: str
    heading: str
    finding: str
    alt: str
    measured: str
    wide: str
    """SVG for a desk and paper."""
    slim: str
    """SVG for a phone."""
    table: Table
    data: dict[str, list[Any]]
    columns: dict[str, str]


@dataclass(frozen=True)
class Absent:
    """A question that these runs cannot answer."""

    heading: str
    why: str


def questions(runs: Sequence[Run]) -> tuple[list[Question], list[Absent]]:
    """Return what the runs answer, in the charts' order, and what they do not, with the reason."""
    answered: list[Question] = []
    absent: list[Absent] = []
    for name, chart in charts().items():
        try:
            data = chart.data(runs)
            if data.empty:
                absent.append(Absent(chart.question, f"needs {chart.needs}"))
            else:
                answered.append(_question(name, chart, data))
        except Exception as error:  # noqa: BLE001 - one chart of any plugin must not cost the page
            absent.append(
                Absent(chart.question, f"could not be drawn: {type(error).__name__}: {error}")
            )
    return answered, absent


def _question(name: str, chart: Chart, data: pd.DataFrame) -> Question:
    alt = printable(chart.alt(data), 2000)
    return Question(
        name=name,
        heading=chart.question,
        finding=printable(chart.title(data)),
        alt=alt,
        measured=chart.measured,
        wide=_drawn(name, chart, data, alt, slim=False),
        slim=_drawn(f"{name}-slim", chart, data, alt, slim=True),
        table=table_of(chart.table(data), chart.columns),
        data=as_json(data),
        columns=dict(chart.columns),
    )


def _drawn(prefix: str, chart: Chart, data: pd.DataFrame, alt: str, *, slim: bool) -> str:
    theme = LIGHT.narrowed() if slim else LIGHT
    figure = chart.figure(data, theme, titled=False)
    with theme.applied():
        return svg(figure, prefix=prefix, label=alt, colors=LIGHT.names)
