"""How does decode's cost grow with context and batch? Against the bytes that a step must read.

    python -m benchmarks.cost_growth --only "compile[linear=native]" [--chart docs/cost-growth.svg]

Were reading all there is to it, every point would lie on the line of the read bandwidth, measured
beside each point. Candidates are those of `benchmarks.backends`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from benchmarks.backends import DTYPES, Worker, candidates
from harness.contracts import usable_cores
from harness.errors import HarnessError
from harness.model import open_model
from scenarios.rates import decode_read_bytes

CONTEXTS = (128, 256, 512, 1024, 2048, 4096)
BATCHES = (1, 2, 4, 8, 16, 32)
STEPS = 12


def grow(given: argparse.Namespace, dtype: str) -> list[dict[str, Any]]:
    """Measure decode of each candidate over contexts at batch 1, and over batches at 128 tokens."""
    every = [c for c in candidates(given.vary)[0] if c.name in given.only]
    config = open_model(given.model).config
    shapes = [(1, context) for context in CONTEXTS]
    shapes += [(batch, 128) for batch in BATCHES[1:]]
    points: list[dict[str, Any]] = []
    for number, (candidate, (batch, prompt)) in enumerate(itertools.product(every, shapes)):
        what = f"{dtype}, {candidate.name}, batch {batch}, context {prompt}"
        print(f"{number + 1} of {len(every) * len(shapes)}: {what}", file=sys.stderr, flush=True)
        context = prompt + STEPS
        worker = Worker(given, candidate, dtype=dtype, batch=batch, context=context)
        answers = [worker.ask(prompt=prompt, new=STEPS) for _ in range(4)][1:]
        limit = worker.ask(ceilings=True)["read_bytes_per_s"]
        worker.end()
        steps = STEPS - 1
        points.append(
            {
                "name": candidate.name,
                "dtype": dtype,
                "batch": batch,
                "prompt": prompt,
                "decode_ms": statistics.median(a["decode_ms"] for a in answers),
                "bytes": decode_read_bytes(config, dtype, [prompt] * batch, steps) / steps,
                "read_bytes_per_s": limit,
            }
        )
    return points


def draw(points: list[dict[str, Any]], path: Path) -> None:
    """Draw decode time against bytes read, with the line that the read bandwidth allows."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), constrained_layout=True, sharey=True)
    bandwidth = statistics.median(p["read_bytes_per_s"] for p in points)
    for axis, what, label in (
        (axes[0], "prompt", "context, at batch 1"),
        (axes[1], "batch", "batch, at context 128"),
    ):
        fixed = "batch" if what == "prompt" else "prompt"
        least = min(p[fixed] for p in points)
        for key, group in itertools.groupby(points, key=lambda p: (p["name"], p["dtype"])):
            line = sorted((p for p in group if p[fixed] == least), key=lambda p: p[what])
            axis.plot(
                [p["bytes"] / 1e6 for p in line],
                [p["decode_ms"] for p in line],
                marker="o",
                label=" ".join(key),
            )
            for p in line:
                at = (p["bytes"] / 1e6, p["decode_ms"])
                axis.annotate(str(p[what]), at, xytext=(0, 5), textcoords="offset points", size=7)
        ends = [0, max(p["bytes"] for p in points) / 1e6]
        axis.plot(
            ends,
            [e * 1e9 / bandwidth for e in ends],
            "k--",
            label=f"read bandwidth, {bandwidth / 1e9:.0f} GB/s",
        )
        axis.set_xlabel("bytes that a step must read, MB")
        axis.set_title(f"over {label}")
    axes[0].set_ylabel("decode, ms per step")
    axes[0].legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def main() -> None:
    """Measure every point, draw the chart, and print the points as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default=".models/SmolLM2-135M-Instruct.gguf")
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--dtypes", nargs="*", default=DTYPES, choices=DTYPES)
    parser.add_argument("--vary", nargs="*", default=["linear=native"], metavar="OPTION=VALUE")
    parser.add_argument("--only", nargs="+", required=True, metavar="NAME")
    parser.add_argument("--chart", type=Path, metavar="FILE.svg")
    given = parser.parse_args()
    try:
        points = list(itertools.chain.from_iterable(grow(given, dtype) for dtype in given.dtypes))
    except HarnessError as error:
        raise SystemExit(str(error)) from error
    if given.chart:
        draw(points, given.chart)
    print(json.dumps(points, indent=1))


if __name__ == "__main__":
    main()
