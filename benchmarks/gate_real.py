"""The gate on the real machine: the same code twice, planted slowdowns, a noisy neighbour.

    python -m benchmarks.gate_real --json FILE [--aa 100] [--planted 20] [--neighbour 100]
    python -m benchmarks.gate_real --json FILE --count

Each comparison is a `harness ab` of its own: fresh pairs of processes, looks at 6, 10, 15, 20 and
30 pairs, stopped where it is decided. Every answer is in the file before the next comparison
begins, so that it can be stopped and taken up. Planted is a backend that really does more work
(more_work.py): which share of the weights it must read again for 5 % more time depends on the
model, so look at the ratio. The neighbour keeps one core busy at random, half of the time.
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
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.engine.duet import DuetPlan
from harness.engine.side import Side
from harness.gate.ab import Ab, run_ab
from harness.gate.rules import Rules
from harness.plugins import add_file
from harness.store import Store
from harness.store.durable import write_durably

PLUGIN = Path(__file__).with_name("more_work.py")
CONDITIONS = ("aa", "planted", "neighbour")
METRIC = "itl_ms"
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
import os, random, time
parent = os.getppid()
while os.getppid() == parent:  # it ends with whoever started it, however that ends
    until = time.monotonic() + random.expovariate(1 / {seconds})
    while time.monotonic() < until:
        pass
    time.sleep(random.expovariate(1 / {seconds}))
"""


def main() -> None:
    """Compare until each condition has what was asked for; print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True, help="what was found, and goes on")
    parser.add_argument("--count", action="store_true", help="run nothing, count what there is")
    parser.add_argument("--model", default="small")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--block-seconds", type=float, default=0.25)
    parser.add_argument("--new-tokens", type=int, default=24)
    parser.add_argument("--extra", type=float, default=0.05, help="share of the weights read again")
    for condition, number in zip(CONDITIONS, (100, 20, 100), strict=True):
        parser.add_argument(f"--{condition}", type=int, default=number, help="comparisons")
    given = parser.parse_args()
    found: list[dict[str, Any]] = json.loads(given.json.read_text()) if given.json.exists() else []
    if not given.count:
        add_file(PLUGIN)
        with tempfile.TemporaryDirectory() as folder:
            for condition in CONDITIONS:
                with _neighbour() if condition == "neighbour" else contextlib.nullcontext():
                    _compare(given, condition, found, Path(folder))
    print(json.dumps(counted(found), indent=1))


def counted(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return, by condition, how often each verdict was given, after how many pairs and seconds."""
    counts = {}
    for condition in CONDITIONS:
        some = [each for each in found if each["condition"] == condition]
        if some:
            counts[condition] = {
                "comparisons": len(some),
                "verdicts": dict(Counter(each["verdict"] for each in some)),
                "pairs": round(sum(each["pairs"] for each in some) / len(some), 1),
                "seconds": round(sum(each["seconds"] for each in some) / len(some), 1),
                "setting": sorted({each["setting"] for each in some}),
            }
    return counts


def _compare(
    given: argparse.Namespace, condition: str, found: list[dict[str, Any]], folder: Path
) -> None:
    wanted = getattr(given, condition)
    while (number := sum(each["condition"] == condition for each in found)) < wanted:
        answer = {"condition": condition, **_compared(given, condition == "planted", folder)}
        found.append(answer)
        print(f"{condition} {number + 1}/{wanted}: {json.dumps(answer)}", file=sys.stderr)
        write_durably(given.json, f"{json.dumps(found, indent=1)}\n".encode())


def _compared(given: argparse.Namespace, planted: bool, folder: Path) -> dict[str, Any]:
    """Hold the backend against itself, or against itself with more work, as `harness ab` does."""
    model = Path(given.model)
    name = str(model.resolve()) if model.exists() else given.model
    settings = {"backend.extra": given.extra} if planted else {}
    more = f", {given.extra:.0%} of the weights read once more" if planted else ""
    sides = (
        Side("base", "base", plugin_files=(PLUGIN,)),
        Side("cand", "cand", plugin_files=(PLUGIN,), settings=settings),
    )
    plan = DuetPlan(blocks=given.blocks, block_seconds=given.block_seconds)
    begun = time.monotonic()
    suite = folder / "suite.toml"
    suite.write_text(SUITE.format(model=name, dtype=given.dtype, new_tokens=given.new_tokens))
    ab = Ab(suite, sides, lambda _: Rules(only=(METRIC,)), plan)
    result = run_ab(Store(folder / "store"), ab, told=lambda *_: None)
    row = next(r for r in result.judgement.rows if r.metric == METRIC and r.primary)
    return {
        "verdict": row.verdict,
        "pairs": row.pairs,
        "ratio": row.ratio,
        "low": row.low,
        "high": row.high,
        "base_ms": row.base,
        "seconds": round(time.monotonic() - begun, 1),
        "setting": f"{model.name} {given.dtype}, {given.blocks} x {given.block_seconds:g} s{more}",
    }


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
