"""Does the harness disturb what it measures? The same decode loop bare and under `harness run`.

Fresh processes, strictly alternating (ABBA); the interval of the ratio is the one that counts.

    python -m benchmarks.observer [--model smollm2-135m] [--dtype bfloat16] [--pairs 30] [--json]
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from harness.stats.intervals import between_processes
from harness.store import Store

PROMPT = 32
SUITE = """
[run]
rounds = 1
max_seconds = 600
min_samples = {requests}
max_samples = {requests}
target = 0.000001

[[model]]
name = "{model}"

[[backend]]
name = "eager"
dtype = "{dtype}"
threads = {threads}

[[scenario]]
name = "latency"
prompt_tokens = {prompt}
new_tokens = {new_tokens}
"""


def bare(given: argparse.Namespace) -> float:
    """Return milliseconds per token without the harness."""
    shape = [str(x) for x in (given.threads, PROMPT, given.new_tokens, given.requests)]
    script = Path(__file__).with_name("bare_decode.py")
    command = [sys.executable, "-P", str(script), given.model, given.dtype, *shape]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def harnessed(given: argparse.Namespace, folder: Path) -> float:
    """Return milliseconds per token as `harness run` reports them."""
    suite = folder / "observer.toml"
    suite.write_text(SUITE.format(prompt=PROMPT, **vars(given)))
    command = [str(Path(sys.executable).with_name("harness")), "run", str(suite)]
    subprocess.run([*command, "--store", str(folder)], capture_output=True, check=True)
    samples = Store(folder).find("latest").samples
    tpot = samples[samples["metric"] == "tpot_ms"]["value"].tolist()
    return float(statistics.median(tpot[2:]))


def main() -> None:
    """Alternate, and print the ratio with its 95 % interval."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--new-tokens", type=int, default=48)
    parser.add_argument("--requests", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    pairs: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        harnessed(given, folder)  # makes the reference, and warms the disk's cache
        for index in range(given.pairs):
            if index % 2:
                with_it, without = harnessed(given, folder), bare(given)
            else:
                without, with_it = bare(given), harnessed(given, folder)
            pairs.append((without, with_it))
            if not given.json:
                print(
                    f"{index + 1:3d}  bare {without:.3f} ms  harness {with_it:.3f} ms", flush=True
                )
    ratio = between_processes([h / b for b, h in pairs])
    middle = math.exp(statistics.median(math.log(h / b) for b, h in pairs))
    if given.json:
        print(json.dumps({"pairs": pairs, "ratio": ratio.model_dump(), "median": middle}))
    else:
        print(f"ratio {ratio.value:.4f} [{ratio.low:.4f}, {ratio.high:.4f}], median {middle:.4f}")


if __name__ == "__main__":
    main()
