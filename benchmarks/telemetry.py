"""What watching costs, and whether it keeps its rate: `python -m benchmarks.telemetry`.

    cost    decode throughput with the sampler process at 50 Hz against without, alternately; the
            ratio's 95 % interval must lie within 0.99 to 1.01
    rate    both cores busy with decoding: 99 % of ticks within 2 ms of when they were due

Runs in this process with torch's threads on all cores, as a worker does. Prints JSON at the end.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.contracts import StepSession
from harness.telemetry.beside import Beside
from harness.telemetry.lines import Call, Missed
from harness.telemetry.process import SamplingTask

_TOLERANCE = 0.01
_LATE_MS = 2.0
_IN_TIME = 0.99


def main() -> None:
    """Measure both; exit 1 where one is not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.telemetry")
    parser.add_argument("--pairs", type=int, default=400)
    parser.add_argument("--tokens", type=int, default=16, help="of each half of a pair")
    parser.add_argument("--hz", type=float, default=50.0)
    parser.add_argument("--model", default="smollm2-135m", help="preset, file or folder")
    parser.add_argument("--rate-seconds", type=float, default=20.0)
    given = parser.parse_args()
    session = _session(given.model)
    found = {
        "cost": cost(session, given.pairs, given.tokens, given.hz),
        "rate": rate(given.rate_seconds, given.hz),
    }
    print(json.dumps(found, indent=1))
    sys.exit(0 if all(part["ok"] for part in found.values()) else 1)


def _session(model: str) -> StepSession:
    import torch

    from harness.contracts import Backend
    from harness.model import open_model
    from harness.plugins import find

    backend = find(Backend, "eager")
    options = backend.Options()
    torch.set_num_threads(options.threads)
    session: Any = backend.load(open_model(model), "cpu", options)
    session.prepare(1, 256)
    return session


@contextmanager
def _watched(hz: float) -> Iterator[Beside]:
    with tempfile.TemporaryDirectory() as folder:
        task = SamplingTask(parent_pid=os.getpid(), hz=hz, worker_pid=os.getpid())
        with Beside(task, Path(folder) / "readings", Path(folder) / "log") as beside:
            yield beside


def _tokens_per_s(session: StepSession, tokens: int) -> float:
    """Decode so many tokens after a short prompt; the clock runs while decoding only."""
    import torch

    session.reset()
    session.prefill(torch.arange(16).unsqueeze(0), torch.tensor([16]))
    session.synchronize()
    start_ns = time.monotonic_ns()
    for _ in range(tokens):
        session.decode()
    session.synchronize()
    return tokens / (time.monotonic_ns() - start_ns) * 1e9


def cost(session: StepSession, pairs: int, tokens: int, hz: float) -> dict[str, Any]:
    """Return the ratio of throughput with the sampler to that without, from alternating pairs.

    The machine's own drift is slower than a pair, so pairs are short: the sampler process is not
    ended for the half without it but stopped by a signal, and its ticks meanwhile are missed.
    """
    for _ in range(4):
        _tokens_per_s(session, tokens)  # warm
    logs, plain, used, watched_s = [], [], 0.0, 0.0
    draw = random.Random(0)
    with _watched(hz) as beside:
        for _ in range(pairs):
            halves: dict[bool, float] = {}
            for watched in draw.sample((True, False), 2):
                os.kill(beside.pid, signal.SIGCONT if watched else signal.SIGSTOP)
                before, start = _cpu_s(beside.pid), time.monotonic()
                halves[watched] = _tokens_per_s(session, tokens)
                if watched:
                    used += _cpu_s(beside.pid) - before
                    watched_s += time.monotonic() - start
            logs.append(math.log(halves[True] / halves[False]))
            plain.append(halves[False])
        os.kill(beside.pid, signal.SIGCONT)
        calls = sum(isinstance(item, Call) and item.tier == "fast" for item in beside.stop())
    low, high = (math.exp(end) for end in _interval(logs))
    return {
        "pairs": pairs,
        "tokens_each": tokens,
        "hz": hz,
        "readings": calls,
        "tokens_per_s_without": round(statistics.median(plain), 2),
        "ratio": round(math.exp(statistics.fmean(logs)), 5),
        "low": round(low, 5),
        "high": round(high, 5),
        "spread_of_pairs": round(statistics.stdev(logs), 4),
        "sampler_cores": round(used / watched_s, 5),
        "ok": low >= 1 - _TOLERANCE and high <= 1 + _TOLERANCE,
    }


def _interval(values: list[float]) -> tuple[float, float]:
    """95 % interval of the mean, Student's t."""
    from scipy.stats import t

    half = float(t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / len(values) ** 0.5
    return statistics.fmean(values) - half, statistics.fmean(values) + half


def _cpu_s(pid: int) -> float:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def rate(seconds: float, hz: float) -> dict[str, Any]:
    """Return how late ticks come while every core computes in a process of its own."""
    burn = "while True: pass"
    cores = len(os.sched_getaffinity(0))
    busy = [subprocess.Popen([sys.executable, "-c", burn]) for _ in range(cores)]
    try:
        with _watched(hz) as beside:
            beside.follow(busy[0].pid)
            beside.mark()
            beside.take()
            time.sleep(seconds)
            beside.mark()
            taken = beside.take()
            priority = beside.header.priority if beside.header else ""
    finally:
        for process in busy:
            process.kill()
            process.wait()
    ticks = {c.due_ns: c for c in reversed(taken) if isinstance(c, Call) and c.due_ns}
    late_ms = sorted((c.before_ns - due) / 1e6 for due, c in ticks.items())
    missed = sum(m.ticks for m in taken if isinstance(m, Missed))
    due = len(late_ms) + missed
    in_time = sum(late <= _LATE_MS for late in late_ms) / due
    return {
        "hz": hz,
        "busy_cores": cores,
        "priority": priority,
        "due": due,
        "read": len(late_ms),
        "missed": missed,
        "late_ms_p50": round(late_ms[len(late_ms) // 2], 3),
        "late_ms_p99": round(late_ms[int(0.99 * (len(late_ms) - 1))], 3),
        "late_ms_max": round(late_ms[-1], 3),
        "within_2_ms": round(in_time, 5),
        # every deadline between the first and the last is either read or counted
        "all_counted": due == round((max(ticks) - min(ticks)) / 1e9 * hz) + 1 if ticks else False,
        "ok": in_time >= _IN_TIME,
    }


if __name__ == "__main__":
    main()
