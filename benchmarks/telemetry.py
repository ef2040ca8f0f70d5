"""What watching costs, and whether it keeps its rate: `python -m benchmarks.telemetry`.

    cost    decode throughput with the sampler process at 50 Hz against without; the ratio's 95 %
            interval must lie within 0.99 to 1.01
    rate    both cores busy with decoding: 99 % of ticks within 2 ms of when they were due

Where the weights lie in memory makes two processes differ by more than a sampler costs. So there is
one live worker and one live sampler, which is frozen (SIGSTOP) and let go (SIGCONT) block by block:
on, off, off, on, or the other way round, by chance. A machine that drifts, drifts alike for both.
The ratio of each four is one observation; their robust centre and interval are the gate's own.
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
from harness.stats import compare
from harness.telemetry.beside import Beside
from harness.telemetry.lines import Call, Missed
from harness.telemetry.process import SamplingTask

_TOLERANCE = 0.01
_PROMPT = 16
_SETTLE = 3
_MOST_TOKENS = 200
_LATE_MS = 2.0
_IN_TIME = 0.99


def main() -> None:
    """Measure both; exit 1 where one is not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.telemetry")
    parser.add_argument("--blocks", type=int, default=400, help="half of them with the sampler")
    parser.add_argument("--seconds", type=float, default=0.5, help="of each block, about")
    parser.add_argument("--hz", type=float, default=50.0)
    parser.add_argument("--model", default="smollm2-135m", help="preset, file or folder")
    parser.add_argument("--rate-seconds", type=float, default=20.0)
    given = parser.parse_args()
    session = session_on("cpu", given.model)
    found = {
        "cost": cost(session, given.blocks, given.seconds, given.hz),
        "rate": rate(given.rate_seconds, given.hz),
    }
    print(json.dumps(found, indent=1))
    sys.exit(0 if all(part["ok"] for part in found.values()) else 1)


def session_on(device: str, model: str) -> StepSession:
    """Return eager's session on a device, prepared for what is measured here."""
    import torch

    from harness.contracts import Backend
    from harness.model import open_model
    from harness.plugins import find

    backend = find(Backend, "eager")
    options = backend.Options.model_validate({"device": device})
    torch.set_num_threads(options.threads)
    session: Any = backend.load(open_model(model), device, options)
    session.prepare(1, _PROMPT + _MOST_TOKENS + _SETTLE)
    return session


@contextmanager
def _watched(hz: float) -> Iterator[Beside]:
    with tempfile.TemporaryDirectory() as folder:
        task = SamplingTask(parent_pid=os.getpid(), hz=hz, worker_pid=os.getpid())
        with Beside(task, Path(folder) / "readings", Path(folder) / "log") as beside:
            yield beside


def _block(session: StepSession, tokens: int) -> float:
    """Return tokens per second over so many, always at the same positions.

    The prompt and a few tokens come before the clock starts: what freezing or waking the sampler
    does to the caches belongs to no block.
    """
    import torch

    session.reset()
    session.prefill(torch.arange(_PROMPT).unsqueeze(0), torch.tensor([_PROMPT]))
    for _ in range(_SETTLE):
        session.decode()
    session.synchronize()
    start_ns = time.monotonic_ns()
    for _ in range(tokens):
        session.decode()
    session.synchronize()
    return tokens / (time.monotonic_ns() - start_ns) * 1e9


def cost(session: StepSession, blocks: int, seconds: float, hz: float) -> dict[str, Any]:
    """Return the ratio of throughput with the sampler to that without, from fours of blocks.

    While the sampler is frozen its ticks are missed; it takes them up again at the next one due.
    """
    warm = [_block(session, _PROMPT) for _ in range(6)]
    tokens = max(4, min(_MOST_TOKENS, round(seconds * statistics.median(warm))))
    base: list[list[float]] = []
    cand: list[list[float]] = []
    used = watched_s = 0.0
    draw = random.Random(0)
    with _watched(hz) as beside:
        for _ in range(blocks // 4):
            with_it: dict[bool, list[float]] = {True: [], False: []}
            first = draw.random() < 0.5
            for watched in (first, not first, not first, first):
                os.kill(beside.pid, signal.SIGCONT if watched else signal.SIGSTOP)
                before, start = _cpu_s(beside.pid), time.monotonic()
                with_it[watched].append(_block(session, tokens))
                if watched:
                    used += _cpu_s(beside.pid) - before
                    watched_s += time.monotonic() - start
            base.append(with_it[False])
            cand.append(with_it[True])
        os.kill(beside.pid, signal.SIGCONT)
        calls = sum(isinstance(item, Call) and item.tier == "fast" for item in beside.stop())
    found = compare(base, cand, better="higher", margin=_TOLERANCE)
    fours = [
        math.log(statistics.fmean(on) / statistics.fmean(off))
        for off, on in zip(base, cand, strict=True)
    ]
    low, high = found.low or 0.0, found.high or math.inf
    return {
        "blocks": 4 * len(base),
        "tokens_each": tokens,
        "hz": hz,
        "readings": calls,
        "tokens_per_s_without": round(statistics.median(v for off in base for v in off), 2),
        "ratio": round(found.ratio or math.nan, 5),
        "low": round(low, 5),
        "high": round(high, 5),
        "spread_of_fours": round(statistics.stdev(fours), 4),
        "sampler_cores": round(used / watched_s, 5),
        "ok": low >= 1 - _TOLERANCE and high <= 1 + _TOLERANCE,
    }


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
