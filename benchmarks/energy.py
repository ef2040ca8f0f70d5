"""How far off is an energy? Random loads on the simulated NVML, whose truth is known.

    python -m benchmarks.energy [--traces 1000] [--seed 0]

Prints the estimator's stated bound, its error, and the error of summing up power, per update period
of the counter. Nothing here was measured on a GPU.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import numpy as np

from harness.testing.nvmlsim import SimulatedNvml, build
from harness.testing.power_traces import Outcome, play, random_trace

_SOURCE = Path(__file__).parents[1] / "tests" / "nvmlsim"
_SHORT_S = 2.0


def main() -> None:
    """Play the traces and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--traces", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    random = Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        simulator = SimulatedNvml(build(_SOURCE, Path(folder)))
        outcomes = [play(simulator, random_trace(random)) for _ in range(arguments.traces)]
    inside = sum(o.within for o in outcomes)
    print(f"{inside} of {len(outcomes)} within their own stated bound\n")
    long = [o for o in outcomes if o.trace.end_s - o.trace.start_s >= _SHORT_S]
    print(f"phases of {_SHORT_S:g} s and more, read every 20 ms: % of the truth, median … largest")
    columns = ("bound", "error", "instant sum", "1-s sum")
    print(f"{'counter':>9} {'phases':>7}" + "".join(f"{column:>15}" for column in columns))
    for update_s in sorted({o.trace.update_s for o in outcomes}):
        rows = [o for o in long if o.trace.update_s == update_s and o.trace.tick_s == 0.02]
        print(
            f"{update_s * 1e3:6.0f} ms {len(rows):7}"
            f"{_percent(rows, lambda o: o.energy.bound_j or 0.0)}"
            f"{_percent(rows, lambda o: o.error_j)}"
            f"{_percent(rows, lambda o: o.naive_instant_j - o.true_j)}"
            f"{_percent(rows, lambda o: o.naive_average_j - o.true_j)}"
        )


def _percent(rows: Sequence[Outcome], figure: Callable[[Outcome], float]) -> str:
    shares = [100 * abs(figure(o)) / o.true_j for o in rows]
    return f"{np.median(shares):7.2f} … {max(shares):5.2f}"


if __name__ == "__main__":
    main()
