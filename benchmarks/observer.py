"""Does the harness disturb what it measures? The same decode loop bare and under `harness run`.

Each pair is two fresh processes that are loaded at once and run in turn, a fraction of a second
each, so that both see the same states of the machine. While the bare one runs, all of `harness run`
is frozen, parent and sampler too: a parent that disturbs its worker disturbs nobody else here. The
ratio of a pair is that of the median times per token; the interval is between pairs.

    python -m benchmarks.observer [--model smollm2-135m] [--dtype bfloat16] [--pairs 30] [--json]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil

from harness.stats.intervals import between_processes
from harness.store import Store

PROMPT = 32
NEW = 48
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
new_tokens = {new}
"""


def freeze(processes: Iterable[psutil.Process]) -> None:
    """Stop processes where they stand."""
    _send(processes, signal.SIGSTOP)


def thaw(processes: Iterable[psutil.Process]) -> None:
    """Let them go on."""
    _send(processes, signal.SIGCONT)


def _send(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


@contextlib.contextmanager
def bare_loop(given: argparse.Namespace) -> Iterator[subprocess.Popen[str]]:
    """Start the bare loop; it is loaded, and frozen."""
    script = Path(__file__).with_name("bare_decode.py")
    shape = [str(x) for x in (given.threads, PROMPT, NEW)]
    command = [sys.executable, "-P", str(script), given.model, given.dtype, *shape]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as bare:
        try:
            assert bare.stdout is not None
            assert bare.stdout.readline() == "loaded\n"
            bare.send_signal(signal.SIGSTOP)
            yield bare
        finally:
            bare.kill()


def one_pair(given: argparse.Namespace, folder: Path) -> tuple[float, float]:
    """Return milliseconds per token, bare and under the harness, of two processes in turn."""
    command = [str(Path(sys.executable).with_name("harness")), "run", str(folder / "suite.toml")]
    with bare_loop(given) as bare:
        harness = subprocess.Popen(
            [*command, "--store", str(folder)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        own, other = psutil.Process(harness.pid), psutil.Process(bare.pid)
        time.sleep(given.lead)
        while harness.poll() is None:
            everyone = [own, *own.children(recursive=True)]  # the parent first, or it would wonder
            freeze(everyone)
            thaw([other])
            time.sleep(given.block)
            freeze([other])
            thaw(reversed(everyone))
            with contextlib.suppress(subprocess.TimeoutExpired):
                harness.wait(given.block)
        assert harness.returncode == 0
        bare.send_signal(signal.SIGTERM)
        thaw([other])
        came, took = json.loads(bare.communicate()[0])
    run = Store(folder).find("latest")
    (measured,) = [p for p in run.record.cases[0].rounds[0].phases if p.name == "measure"]
    meanwhile = [
        ns for at, ns in zip(came, took, strict=True) if measured.start_ns < at < measured.end_ns
    ]
    samples = run.samples
    gaps = samples.loc[samples["metric"] == "itl_ms", "value"].tolist()
    return statistics.median(meanwhile) / 1e6, statistics.median(gaps)


def main() -> None:
    """Alternate, and print the ratio with its 95 % interval."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--requests", type=int, default=10)
    parser.add_argument("--block", type=float, default=0.4, help="seconds")
    parser.add_argument("--lead", type=float, default=6.0, help="seconds the harness loads alone")
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    pairs: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "suite.toml").write_text(SUITE.format(prompt=PROMPT, new=NEW, **vars(given)))
        one_pair(given, folder)  # makes the reference, and warms the disk's cache
        for index in range(given.pairs):
            pairs.append(one_pair(given, folder))
            if not given.json:
                bare, harness = pairs[-1]
                print(f"{index + 1:3d}  bare {bare:.3f} ms  harness {harness:.3f} ms", flush=True)
    ratio = between_processes([h / b for b, h in pairs])
    middle = math.exp(statistics.median(math.log(h / b) for b, h in pairs))
    if given.json:
        print(json.dumps({"pairs": pairs, "ratio": ratio.model_dump(), "median": middle}))
    else:
        print(f"ratio {ratio.value:.4f} [{ratio.low:.4f}, {ratio.high:.4f}], median {middle:.4f}")


if __name__ == "__main__":
    main()
