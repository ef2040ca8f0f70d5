"""Charts by name, for reports and notebooks alike.

from harness import load_run
from harness.charts import chart

fastest = chart("fastest")
data = fastest.data([load_run("latest")])
fastest.figure(data).savefig("fastest.svg")
"""

from __future__ import annotations

from harness.contracts import Chart
from harness.plugins import Broken, find, load_all
from harness.theme import DARK, GREY, LIGHT

__all__ = ["DARK", "GREY", "LIGHT", "chart", "charts"]


def chart(name: str) -> Chart:
    """Return a chart by its entry point's name.

    Raises:
        PluginError: where there is none of that name, or it cannot be used.
    """
    return find(Chart, name)


def charts() -> dict[str, Chart]:
    """Return all charts that can be used, in the order in which a report shows them."""
    usable = {n: c for n, c in load_all(Chart).items() if not isinstance(c, Broken)}
    return dict(sorted(usable.items(), key=lambda item: (item[1].order, item[0])))
