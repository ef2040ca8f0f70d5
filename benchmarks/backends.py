"""Which backend is fastest here? All that are available, alternating, on the same weights.

    python -m benchmarks.backends [--model PATH.gguf] [--rounds 7] [--json]

Each candidate is a backend with its default options, or with a variant that it accepts (`--vary`).
It lives in a process of its own and sleeps while others work; a round asks every candidate for one
generation, in another order each time, and measures both ceilings between them. Shown are medians,
the share of the ceilings (MBU of decode, MFU of prefill), and the median over rounds of the ratio
of times to two yardsticks (in JSON with its distribution-free 95 % interval, where rounds suffice).
In float32 the first generation's tokens are held against those of the first yardstick.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from typing import Any

from harness.contracts import Backend, Request, StepSession, StreamSession, usable_cores
from harness.engine.stream import StepAsStream
from harness.errors import HarnessError
from harness.model import open_model
from harness.plugins import Broken, load_all
from harness.stats.quantiles import quantile_interval
from scenarios.rates import decode_read_bytes, prefill_flops

DTYPES = ("float32", "bfloat16")
BATCHES = (1, 8)
YARDSTICKS = ("eager", "llamacpp")


@dataclass(frozen=True)
class Candidate:
    """A backend and the options that are not its defaults."""

    backend: str
    options: dict[str, Any]

    @property
    def name(self) -> str:
        """As shown."""
        inside = ",".join(f"{k}={v}" for k, v in self.options.items())
        return f"{self.backend}[{inside}]" if inside else self.backend


def candidates(vary: list[str]) -> tuple[list[Candidate], dict[str, str]]:
    """Return what can run here, and why the rest cannot.

    Args:
        vary: `option=value` each: a further candidate for every backend that has this option and
            takes this value.
    """
    found: list[Candidate] = []
    skipped: dict[str, str] = {}
    for name, backend in load_all(Backend).items():
        if isinstance(backend, Broken):
            skipped[name] = backend.reason
            continue
        can = backend.availability("cpu")
        if not can.ok:
            skipped[name] = "; ".join(filter(None, (can.reason, can.remedy)))
            continue
        found.append(Candidate(name, {}))
        for option, _, value in (text.partition("=") for text in vary):
            if option in backend.Options.model_fields:
                try:
                    backend.Options.model_validate({option: value})
                except ValueError:
                    continue
                found.append(Candidate(name, {option: value}))
    return found, skipped


# --- A worker: one candidate, one precision and batch; it answers one line for each it reads ------


def serve(given: argparse.Namespace) -> None:
    """Load and prepare, then answer each line on stdin with one generation's figures."""
    candidate = Candidate(**json.loads(given.candidate))
    backend = load_all(Backend)[candidate.backend]
    assert isinstance(backend, Backend)
    model = open_model(given.model)
    options = backend.Options.model_validate(
        {**candidate.options, "dtype": given.dtype, "threads": given.threads}
    )
    start = time.perf_counter()
    session = backend.load(model, "cpu", options)
    session.prepare(given.batch, given.context)
    ready_s = time.perf_counter() - start
    print(json.dumps({"ready_s": ready_s}), flush=True)
    if isinstance(session, StepSession):
        stream: Any = StepAsStream(session, time.perf_counter_ns)
    else:
        assert isinstance(session, StreamSession)
        stream = session
    draw = random.Random(0)
    for line in sys.stdin:
        asked = json.loads(line)
        if "ceilings" in asked:
            answer = ceilings(given)
        else:
            vocab = model.config.vocab_size
            prompts = [
                tuple(draw.randrange(vocab) for _ in range(asked["prompt"]))
                for _ in range(given.batch)
            ]
            answer = generate(stream, [Request(p, asked["new"]) for p in prompts])
        print(json.dumps(answer), flush=True)


def generate(stream: Any, requests: list[Request]) -> dict[str, Any]:
    """Return what one generation took, and its tokens by row."""
    begin = time.perf_counter_ns()
    events = list(stream.stream(requests))
    rows: list[list[int]] = [[] for _ in requests]
    for event in events:
        rows[event.request].append(event.token)
    # Sessions stamp with perf_counter_ns or monotonic_ns, which are one clock on Linux.
    first = max(e.at_ns for e in events[: len(requests)])
    steps = len(rows[0]) - 1
    decode_ms = (events[-1].at_ns - first) / 1e6 / steps
    return {"prefill_ms": (first - begin) / 1e6, "decode_ms": decode_ms, "tokens": rows}


def ceilings(given: argparse.Namespace) -> dict[str, float | None]:
    from harness.ceilings import measure_ceilings

    measured = measure_ceilings(given.dtype, given.threads, "cpu")
    return {name: reading.value for name, reading in measured.items()}


class Worker:
    """A candidate's process, asleep unless asked."""

    def __init__(self, given: argparse.Namespace, candidate: Candidate, **shape: Any) -> None:
        self.candidate = candidate
        options = [f"--{k}={v}" for k, v in shape.items()]
        options += [f"--model={given.model}", f"--threads={given.threads}"]
        options.append(f"--candidate={json.dumps(asdict(candidate))}")
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the worker
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.backends", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self.ready_s = self._read().get("ready_s")

    def ask(self, **what: Any) -> dict[str, Any]:
        """Have it do one thing while all others sleep."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        return self._read()

    def end(self) -> None:
        """Close its stdin, which ends it."""
        self._process.communicate()
        self._log.close()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):  # libraries print too
                found: dict[str, Any] = json.loads(line)
                return found
        self._process.communicate()
        self._log.seek(0)
        last = (self._log.read().strip().splitlines() or ["ended without a word"])[-1]
        raise HarnessError(f"{self.candidate.name}: {last}")


# --- The parent: it asks in turn and sleeps -------------------------------------------------------


def compare(given: argparse.Namespace, dtype: str, batch: int) -> dict[str, Any]:
    """Measure every candidate in one precision and batch, round by round."""
    every, skipped = candidates(given.vary)
    if given.only:
        every = [c for c in every if c.name in given.only or c.backend in given.only]
    shape = {"dtype": dtype, "batch": batch, "context": given.prompt + given.new}
    workers: list[Worker] = []
    for candidate in every:
        try:
            workers.append(Worker(given, candidate, **shape))
        except HarnessError as error:
            skipped[candidate.name] = str(error)
    seen, limits = rounds_of(workers, given)
    for worker in workers:
        worker.end()
    config = open_model(given.model).config
    work = {
        "bytes": decode_read_bytes(config, dtype, [given.prompt] * batch, given.new - 1)
        / (given.new - 1),
        "flops": prefill_flops(config, [given.prompt] * batch),
        "batch": batch,
    }
    rows = [{**row(w.candidate.name, seen, limits, work), "ready_s": w.ready_s} for w in workers]
    middle = {k: statistics.median(limit[k] for limit in limits) for k in limits[0]}
    head = {"dtype": dtype, "batch": batch, "rounds": given.rounds, "ceilings": middle}
    return {**head, "rows": sorted(rows, key=lambda r: r["decode_ms"]), "skipped": skipped}


Seen = dict[str, list[dict[str, Any]]]


def rounds_of(workers: list[Worker], given: argparse.Namespace) -> tuple[Seen, list[Any]]:
    """Ask everybody in turn; return generations by name, the warming-up one first, and ceilings."""
    seen: Seen = {w.candidate.name: [] for w in workers}
    limits = []
    for number in range(given.rounds + 1):
        for worker in random.Random(number).sample(workers, len(workers)):
            answer = worker.ask(prompt=given.prompt, new=given.new)
            seen[worker.candidate.name].append(answer)
        limits.append(workers[0].ask(ceilings=True))
    return seen, limits[1:]


def row(name: str, seen: Seen, limits: list[Any], work: dict[str, float]) -> dict[str, Any]:
    """Return one candidate's medians, shares of the ceilings, and ratios to the yardsticks."""
    warming, *rounds = seen[name]
    found: dict[str, Any] = {"name": name}
    yardsticks = [y for y in YARDSTICKS if y in seen]
    for part in ("prefill_ms", "decode_ms"):
        found[part] = statistics.median(r[part] for r in rounds)
        for yardstick in yardsticks:
            pairs = zip(rounds, seen[yardstick][1:], strict=True)
            ratios = [a[part] / b[part] for a, b in pairs]
            interval = quantile_interval(ratios, 0.5).model_dump()
            found[f"{part}/{yardstick}"] = {**interval, "value": statistics.median(ratios)}
    found["tokens_per_s"] = work["batch"] * 1000 / found["decode_ms"]
    both = list(zip(rounds, limits, strict=True))
    found["mbu"] = statistics.median(
        work["bytes"] / r["decode_ms"] * 1e3 / limit["read_bytes_per_s"] for r, limit in both
    )
    found["mfu"] = statistics.median(
        work["flops"] / r["prefill_ms"] * 1e3 / limit["gemm_flop_per_s"] for r, limit in both
    )
    if yardsticks:
        found["agreed"] = agreement(warming["tokens"], seen[yardsticks[0]][0]["tokens"])
    return found


def agreement(ours: list[list[int]], theirs: list[list[int]]) -> int:
    """Return after how many tokens the first row parts; all of them where none does."""
    return min(
        next((i for i, (a, b) in enumerate(zip(x, y, strict=True)) if a != b), len(x))
        for x, y in zip(ours, theirs, strict=True)
    )


def show(result: dict[str, Any]) -> None:
    """Print one table."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    limits = result["ceilings"]
    title = (
        f"{result['dtype']}, batch {result['batch']}, {result['rounds']} rounds; "
        f"{limits['read_bytes_per_s'] / 1e9:.0f} GB/s, "
        f"{limits['gemm_flop_per_s'] / 1e9:.0f} GFLOP/s"
    )
    table = Table(title=title)
    table.add_column("backend")
    columns = ["decode ms", *(f"× {y}" for y in YARDSTICKS), "tokens/s", "MBU", "prefill ms"]
    for name in [*columns, *(f"× {y}" for y in YARDSTICKS), "MFU", "ready s", "tokens alike"]:
        table.add_column(name, justify="right")

    def ratios(row: dict[str, Any], part: str) -> list[str]:
        found = [row.get(f"{part}/{yardstick}") for yardstick in YARDSTICKS]
        return [f"{r['value']:.2f}" if r else "–" for r in found]

    for row in result["rows"]:
        cells = [escape(row["name"]), f"{row['decode_ms']:.2f}", *ratios(row, "decode_ms")]
        cells += [f"{row['tokens_per_s']:.0f}", f"{row['mbu']:.2f}", f"{row['prefill_ms']:.1f}"]
        cells += [*ratios(row, "prefill_ms"), f"{row['mfu']:.2f}", f"{row['ready_s']:.1f}"]
        table.add_row(*cells, str(row.get("agreed", "–")))
    Console(width=160).print(table)
    for name, reason in result["skipped"].items():
        print(f"  {name} is left out: {reason}")


def main() -> None:
    """Compare, and print tables or JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default=".models/SmolLM2-135M-Instruct.gguf")
    parser.add_argument("--prompt", type=int, default=128, help="tokens")
    parser.add_argument("--new", type=int, default=64, help="tokens, the first one included")
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--rounds", type=int, default=7, help="beside one that warms up")
    parser.add_argument("--dtypes", nargs="*", default=DTYPES, choices=DTYPES)
    parser.add_argument("--batches", nargs="*", type=int, default=BATCHES)
    parser.add_argument("--vary", nargs="*", default=["linear=native"], metavar="OPTION=VALUE")
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME")
    parser.add_argument("--json", action="store_true")
    for name in ("--candidate", "--dtype"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    for name in ("--batch", "--context"):
        parser.add_argument(name, type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    try:
        if given.candidate:
            serve(given)
        else:
            results = []
            for dtype, batch in itertools.product(given.dtypes, given.batches):
                results.append(compare(given, dtype, batch))
                if not given.json:
                    show(results[-1])
            if given.json:
                print(json.dumps(results))
    except HarnessError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
