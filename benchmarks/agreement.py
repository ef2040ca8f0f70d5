"""Do two runs of the same suite agree within the intervals they state?

Runs the suite a number of times, one run after the other, and looks at every pair of runs and every
headline figure with an interval. Two questions a pair: do the intervals overlap, and does the
interval of the difference hold zero (half-widths added in quadrature, on logarithms)? Stated 95 %
intervals should pass the second about 95 times in 100, if the machine is one and the same.

    python -m benchmarks.agreement [--suite default] [--runs 10] [--rounds 3] [--json]
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from harness.store import Store
from harness.store.record import RunRecord

Key = tuple[str, str, str]
"""Case, metric, point."""
Interval = tuple[float, float, float]
"""Value, low, high."""


def run(given: argparse.Namespace, store: Path) -> dict[Key, Interval]:
    """Run the suite once; return its headline readings."""
    command = [str(Path(sys.executable).with_name("harness")), "run", given.suite, "--json"]
    command += ["--store", str(store), "--rounds", str(given.rounds)]
    for name in given.scenario:
        command += ["--scenario", name]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return headlines(Store(store).find("latest").record)


def headlines(record: RunRecord) -> dict[Key, Interval]:
    """Return the figures of metrics that have a better side and an interval above zero."""
    found: dict[Key, Interval] = {}
    for case in record.cases:
        for figure in case.figures:
            metric, reading = record.metric(figure.metric), figure.reading
            if metric.better == "neither" or figure.statistic != metric.headline:
                continue
            if reading.value and reading.low and reading.high:
                key = (case.id, figure.metric, figure.point)
                found[key] = (reading.value, reading.low, reading.high)
    return found


def overlap(a: Interval, b: Interval) -> bool:
    """Say whether the two intervals share a value."""
    return a[1] <= b[2] and b[1] <= a[2]


def same(a: Interval, b: Interval) -> bool:
    """Say whether the interval of the ratio holds one."""
    half = math.hypot(math.log(a[2] / a[1]) / 2, math.log(b[2] / b[1]) / 2)
    return abs(math.log(a[0] / b[0])) <= half


def main() -> None:
    """Run, compare every pair, print by metric."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--suite", default="default")
    parser.add_argument("--scenario", action="append", default=[])
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found: list[dict[Key, Interval]] = []
    with tempfile.TemporaryDirectory() as name:
        for index in range(given.runs):
            found.append(run(given, Path(name)))
            print(f"run {index + 1} of {given.runs}", file=sys.stderr, flush=True)
    counts: dict[str, Counter[str]] = {}
    for a, b in itertools.combinations(found, 2):
        for key in a.keys() & b.keys():
            tally = counts.setdefault(key[1], Counter())
            tally["pairs"] += 1
            tally["overlap"] += overlap(a[key], b[key])
            tally["same"] += same(a[key], b[key])
    if given.json:
        runs = [{"|".join(k): r for k, r in one.items()} for one in found]
        print(json.dumps({"counts": counts, "runs": runs}))
        return
    counts["all"] = sum(counts.values(), Counter())
    for metric, tally in counts.items():
        pairs = tally["pairs"]
        print(
            f"{metric:28s} {pairs:5d} pairs  intervals overlap {tally['overlap'] / pairs:6.1%}  "
            f"no difference shown {tally['same'] / pairs:6.1%}"
        )


if __name__ == "__main__":
    main()
