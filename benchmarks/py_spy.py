"""What py-spy at 100 Hz costs the process that it samples.

    python -m benchmarks.py_spy [--rounds 5] [--model tiny|smollm2-135m] [--threads 1]

Interleaved: in each fresh process blocks of decoding with and without py-spy take turns, ABBA, so
that a drift of the machine strikes both. A round's figure is the ratio of the two sides' medians;
the interval is between rounds.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from harness.stats.intervals import t_quantile

_BLOCKS = 3
"""Of each side in a process."""
_SECONDS = 2.0


def measure(model: str, threads: int) -> tuple[float, int]:
    """Return the ratio of a decode call with py-spy to one without, and how many calls there were.

    Raises:
        UnavailableError: where py-spy may not trace.
    """
    import torch

    from backends.eager import EagerBackend
    from harness.model import open_model
    from harness.profiling.pyspy import sample_self

    torch.set_num_threads(threads)
    backend = EagerBackend()
    opened = open_model(model, seed=0)
    session = backend.load(opened, "cpu", backend.Options(threads=threads))
    session.prepare(1, 256)
    took: dict[bool, list[float]] = {True: [], False: []}
    prompt = torch.ones(1, 32, dtype=torch.int64)

    def request(*, sampled: bool) -> None:
        session.reset()
        session.prefill(prompt, torch.tensor([32]))
        for _ in range(32):
            start = time.perf_counter_ns()
            session.decode().tolist()
            took[sampled].append(float(time.perf_counter_ns() - start))

    request(sampled=False)
    took[False].clear()
    with tempfile.TemporaryDirectory() as name:
        for block in range(_BLOCKS):
            for sampled in (False, True) if block % 2 == 0 else (True, False):
                if sampled:
                    raw = Path(name) / f"{block}.raw"
                    sample_self(lambda: request(sampled=True), raw, _SECONDS)
                    continue
                until = time.perf_counter() + _SECONDS
                while time.perf_counter() < until:
                    request(sampled=False)
    # Means: a call that py-spy's reading held up is what is asked for.
    ratio = statistics.fmean(took[True]) / statistics.fmean(took[False])
    return ratio, sum(map(len, took.values()))


def interval(ratios: list[float]) -> tuple[float, float, float]:
    """Return the geometric mean of ratios and its 95 % interval."""
    logs = np.log(ratios)
    half = t_quantile(len(ratios) - 1, 0.95) * float(logs.std(ddof=1)) / math.sqrt(len(ratios))
    middle = float(logs.mean())
    return math.exp(middle), math.exp(middle - half), math.exp(middle + half)


def main() -> None:
    """Run rounds in fresh processes and print the cost; `--round` is one of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--round", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.round:
        print(json.dumps(measure(given.model, given.threads)))
        return
    ratios = []
    for number in range(given.rounds):
        done = subprocess.run(
            [
                sys.executable, "-m", "benchmarks.py_spy", "--round", "--model", given.model,
                "--threads", str(given.threads),
            ],
            check=True,
            capture_output=True,
            text=True,
        )  # fmt: skip
        ratio, calls = json.loads(done.stdout.splitlines()[-1])
        ratios.append(ratio)
        print(f"round {number + 1}: {ratio - 1:+.2%} over {calls} calls", flush=True)
    if len(ratios) > 1:
        middle, low, high = interval(ratios)
        print(f"py-spy at 100 Hz: {middle - 1:+.2%} [{low - 1:+.2%}, {high - 1:+.2%}]")


if __name__ == "__main__":
    main()
