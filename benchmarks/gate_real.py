"""The gate on the real machine: the same code twice, planted slowdowns, a noisy neighbour.

    python -m benchmarks.gate_real --model .models/SmolLM2-135M-Instruct.gguf --pairs 30

Plays rounds of a duet, then decides as `harness ab` would: looks at 6, 10, 15, … pairs until the
answer is clear; the next comparison starts with the next pair, so every pair is used once. Prints
JSON: per condition the number of comparisons and their verdicts, and each pair's log ratio.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.engine.duet import DuetPlan
from harness.engine.side import Side
from harness.gate.ab import Ab, run_ab
from harness.gate.evidence import evidence_of
from harness.gate.judge import Rules
from harness.gate.paired import pairs_of
from harness.plugins import add_file
from harness.stats import Comparison, SequentialPlan, decide
from harness.store import Store

PLUGIN = Path(__file__).with_name("more_work.py")
SUITE = """
[[model]]
name = "{model}"
[[backend]]
name = "more-work"
dtype = "{dtype}"
[[scenario]]
name = "latency"
prompt_tokens = 16
new_tokens = {new_tokens}
[run]
max_seconds = 1
min_samples = 3
"""
_NEIGHBOUR = """
import random, time
while True:
    until = time.monotonic() + random.expovariate(1 / {seconds})
    while time.monotonic() < until:
        pass
    time.sleep(random.expovariate(1 / {seconds}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="small")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--block-seconds", type=float, default=0.5)
    parser.add_argument("--new-tokens", type=int, default=24)
    parser.add_argument("--extra", type=float, default=0.05)
    parser.add_argument("--budget", type=float, help="seconds per condition")
    parser.add_argument(
        "--conditions", nargs="+", default=["aa", "planted", "neighbour"],
        choices=["aa", "planted", "neighbour"],
    )  # fmt: skip
    given = parser.parse_args()
    add_file(PLUGIN)
    report: dict[str, Any] = {key: getattr(given, key) for key in ("model", "dtype", "extra")}
    for condition in given.conditions:
        with _neighbour() if condition == "neighbour" else contextlib.nullcontext():
            report[condition] = measure(given, given.extra if condition == "planted" else 0.0)
        print(json.dumps({condition: report[condition]}), file=sys.stderr)
    print(json.dumps(report, indent=1))


def measure(given: argparse.Namespace, extra: float) -> dict[str, Any]:
    """Play the pairs of one condition and decide on them."""
    with tempfile.TemporaryDirectory() as folder:
        suite = Path(folder) / "suite.toml"
        model = Path(given.model)
        name = str(model.resolve()) if model.exists() else given.model
        suite.write_text(SUITE.format(model=name, dtype=given.dtype, new_tokens=given.new_tokens))
        sides = (
            Side("base", "base", plugin_files=(PLUGIN,)),
            Side("cand", "cand", plugin_files=(PLUGIN,), settings={"backend.extra": extra}),
        )
        plan = DuetPlan(given.pairs, given.blocks, given.block_seconds, given.budget)
        ab = Ab(suite, sides, lambda _: Rules(), plan, early_stop=False)
        begun = time.monotonic()
        result = run_ab(Store(Path(folder) / "store"), ab, told=lambda turn, _: _tell(turn.seconds))
        seconds = time.monotonic() - begun
        base, cand = (evidence_of(run) for run in result.runs)
        keys = [next(k for k in side.series if k.metric == "itl_ms") for side in (base, cand)]
        pairs = pairs_of(base, cand, keys[0], keys[1])
    found = comparisons(pairs.base, pairs.cand)
    ratios = [
        float(np.log(np.median(b) / np.median(a)))
        for a, b in zip(pairs.base, pairs.cand, strict=True)
    ]
    return {
        "pairs": len(ratios),
        "seconds_per_pair": round(seconds / max(len(ratios), 1), 2),
        "comparisons": len(found),
        "verdicts": dict(Counter(c.verdict for c in found)),
        "pairs_used": [c.pairs for c in found],
        "ratio": round(float(np.exp(np.median(ratios))), 4),
        "log_ratios_percent": [round(100 * r, 2) for r in ratios],
        "base_ms": [round(float(np.median(x)), 3) for x in pairs.base],
        "straddling": f"{pairs.straddling} of {pairs.blocks} pairs of blocks",
    }


def comparisons(base: Sequence[Any], cand: Sequence[Any]) -> list[Comparison]:
    """Return the comparisons that the pairs are enough for, each stopped where it is decided."""
    plan, found, start = SequentialPlan(), [], 0
    while True:
        for number in plan.looks:
            if start + number > len(base):
                return found
            look = plan.at(number)
            assert look is not None
            end = start + number
            seen = decide(base[start:end], cand[start:end], look)
            if seen.verdict != "inconclusive" or number == plan.looks[-1]:
                break
        found.append(seen)
        start = end


def _tell(seconds: float) -> None:
    print(f"{seconds:.1f} s", end=" ", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _neighbour(seconds: float = 0.5) -> Iterator[None]:
    """Keep one core busy at random, half of the time."""
    random.seed(0)
    process = subprocess.Popen([sys.executable, "-c", _NEIGHBOUR.format(seconds=seconds)])
    try:
        yield
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main()
