"""How often is the gate wrong? Simulated on three machines, beside three rules in common use.

    python -m benchmarks.gate [--draws 10000] [--json FILE] [--chart docs/gate-error-rates.svg]

Each draw is one comparison of a candidate with its base, on noise whose truth is known
(`harness.testing.noise`): a steady machine, one that switches between states 24 % apart with 3 %
gross outliers, and a recorded series resampled in blocks. The gate gets 30 pairs at most on the
first, 60 on the others. The other rules get five processes a side, one side after the other, and
pytest-benchmark one, as it does. All intervals are 95 % (Clopper and Pearson).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.stats import SequentialPlan
from harness.stats.robust import robust_centre
from harness.testing.noise import MACHINES, Array, Machine, pair_ratios
from harness.testing.trials import holds, tried

CHANGES = (0.0, 0.03, 0.05, 0.10)
BUDGET = {"steady": 30, "switching": 60, "recorded": 60}
GATE = "harness gate"
RULES = {
    "mean": "mean worse by 5 %",
    "rank": "Mann–Whitney, pooled, p < 0.05",
    "min": "pytest-benchmark min:5%",
}
SIDE = 5
"""Processes a side for the other rules."""


def rate(hits: NDArray[np.bool_]) -> dict[str, float]:
    """Return a share with its interval."""
    from scipy.stats import binomtest

    found = binomtest(int(hits.sum()), hits.size)
    interval = found.proportion_ci(0.95, "exact")
    return {"share": found.statistic, "low": interval.low, "high": interval.high}


def gate(machine: Machine, draws: int) -> Iterator[dict[str, Any]]:
    """Yield what the gate answers to each change."""
    plan = SequentialPlan.up_to(BUDGET[machine.name])
    random = np.random.default_rng(6)
    ratios = pair_ratios(machine.centres(random, draws, 2 * plan.looks[-1]))
    for change in CHANGES:
        done = tried(ratios, change, plan)
        yield {
            "rule": GATE,
            "machine": machine.name,
            "change": change,
            "regression": rate(done.answers == "larger"),
            "improvement": rate(done.answers == "smaller"),
            "pass": rate(done.answers == "same"),
            "inconclusive": rate(done.answers == "open"),
            "pairs": float(done.pairs.mean()),
            "most_pairs": int(done.pairs.max()),
            "covered": rate(done.covered),
        }
    for n in plan.looks:
        covered = rate(holds(robust_centre(ratios[:, :n]), 0.0))
        yield {"rule": "coverage", "machine": machine.name, "pairs": n, "covered": covered}


def others(machine: Machine, draws: int) -> Iterator[dict[str, Any]]:
    """Yield what the other rules answer to each change."""
    random = np.random.default_rng(7)
    found: dict[tuple[str, float], list[NDArray[np.bool_]]] = {}
    parts = max(1, draws // 500)
    levels = np.array_split(machine.levels(random, draws, 2 * SIDE), parts)
    for part in levels:
        samples = np.exp(machine.samples(random, part, 100))
        base, cand = samples[:, :SIDE], samples[:, SIDE:]
        for change in CHANGES:
            for rule, called in judged(base, cand * (1 + change)).items():
                found.setdefault((rule, change), []).append(called)
    for (rule, change), called in found.items():
        yield {
            "rule": RULES[rule],
            "machine": machine.name,
            "change": change,
            "regression": rate(np.concatenate(called)),
            "pairs": 1 if rule == "min" else SIDE,
        }


def judged(base: Array, cand: Array) -> dict[str, NDArray[np.bool_]]:
    """Return whether each rule calls a regression: samples [draws, processes, n] to [draws]."""
    from scipy.stats import mannwhitneyu

    pooled = [x.reshape(x.shape[0], -1) for x in (base, cand)]
    test = mannwhitneyu(pooled[1], pooled[0], axis=-1, method="asymptotic")
    slower = np.median(pooled[1], axis=-1) > np.median(pooled[0], axis=-1)
    return {
        "mean": cand.mean(axis=(1, 2)) > 1.05 * base.mean(axis=(1, 2)),
        "rank": (test.pvalue < 0.05) & slower,
        "min": cand[:, 0].min(axis=-1) > 1.05 * base[:, -1].min(axis=-1),
    }


def show(rows: list[dict[str, Any]]) -> None:
    """Print Markdown tables."""

    def percent(share: float) -> str:
        return f"{share:.2%}" if 0 < share < 0.02 else f"{share:.1%}"

    def cell(row: dict[str, Any]) -> str:
        found = row["regression"]
        return f"{percent(found['share'])} ({percent(found['low'])}–{percent(found['high'])})"

    for machine in MACHINES:
        here = [row for row in rows if row["machine"] == machine.name]
        heads = " | ".join(f"{change:+.0%}" if change else "no change" for change in CHANGES)
        print(f"\n{machine.name}: called a regression (95 % interval)\n\n| rule | {heads} |")
        print("|---|" + "--:|" * len(CHANGES))
        for rule in (GATE, *RULES.values()):
            cells = " | ".join(cell(row) for row in here if row["rule"] == rule)
            print(f"| {rule} | {cells} |")
        print(
            "\n| change | pass | inconclusive | improvement | pairs, mean | most | covered at end |"
        )
        print("|--:|--:|--:|--:|--:|--:|--:|")
        for row in here:
            if row["rule"] == GATE:
                shares = [percent(row[k]["share"]) for k in ("pass", "inconclusive", "improvement")]
                last = f"{row['pairs']:.1f} | {row['most_pairs']} | {row['covered']['share']:.1%}"
                print(f"| {row['change']:+.0%} | {' | '.join(shares)} | {last} |")
        covered = [
            f"{row['pairs']} pairs {row['covered']['share']:.1%}"
            for row in here
            if row["rule"] == "coverage"
        ]
        print(f"\ncoverage of the 95 % interval at a fixed number: {', '.join(covered)}")


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Write the chart: who cries wolf, and who sleeps."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "gate"
    from matplotlib import pyplot as plt

    rules = [GATE, *RULES.values()]
    colours = {"steady": "#2a6f97", "switching": "#c1440e", "recorded": "#6a994e"}
    panels = (
        (0.0, "called a regression where nothing changed"),
        (0.05, "found a real slowdown of 5 %"),
    )
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.4), sharey=True, layout="constrained")
    for axis, (change, title) in zip(axes, panels, strict=True):
        for shift, (machine, colour) in zip((-0.2, 0, 0.2), colours.items(), strict=True):
            for y, rule in enumerate(rules):
                row = next(
                    r
                    for r in rows
                    if (r["rule"], r["machine"], r.get("change")) == (rule, machine, change)
                )
                found = {k: 100 * x for k, x in row["regression"].items()}
                axis.plot([found["low"], found["high"]], [y + shift] * 2, color=colour, lw=2)
                axis.plot(found["share"], y + shift, "o", color=colour, ms=6)
                side = -1 if found["share"] > 85 else 1
                axis.annotate(
                    f"{found['share']:.1f} %",
                    (found["share"], y + shift),
                    xytext=(7 * side, 0),
                    textcoords="offset points",
                    va="center",
                    ha="left" if side > 0 else "right",
                    fontsize=8,
                    color=colour,
                )
        axis.set_title(title, fontsize=10, loc="left")
        axis.set_xlim(-2, 102)
        axis.set_xlabel("% of comparisons")
        axis.set_yticks(range(len(rules)), rules)
        axis.grid(axis="x", alpha=0.25)
        axis.spines[["top", "right", "left"]].set_visible(False)
        axis.tick_params(length=0)
    axes[0].invert_yaxis()
    handles = [plt.Line2D([], [], marker="o", color=c, lw=2, label=m) for m, c in colours.items()]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=3, frameon=False, title="machine"
    )
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=150)


def main() -> None:
    """Simulate, print tables, and write figures and chart where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--draws", type=int, default=10_000)
    parser.add_argument("--json", type=Path, help="write all figures here")
    parser.add_argument("--chart", type=Path, help="write the chart here")
    given = parser.parse_args()
    begin = time.perf_counter()
    rows = [row for m in MACHINES for rule in (gate, others) for row in rule(m, given.draws)]
    show(rows)
    print(f"\n{given.draws} draws each, {time.perf_counter() - begin:.0f} s")
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1) + "\n")
    if given.chart:
        draw(rows, given.chart)


if __name__ == "__main__":
    main()
