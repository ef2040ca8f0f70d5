"""A way to run small suites through the real engine, and to see what they left."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import harness.testing.cheats
import harness.testing.faults
from harness.store import Run, Store

HARNESS = [str(Path(sys.executable).with_name("harness"))]


@dataclass(frozen=True)
class Ran:
    """A finished `harness run`."""

    status: int
    err: str
    out: str
    store: Path

    @property
    def run(self) -> Run:
        """The newest run."""
        return Store(self.store).find("latest")


SuiteRunner = Callable[..., Ran]

QUICK = """
[run]
rounds = {rounds}
max_seconds = 0.3
min_samples = 2
max_samples = 4
time_limit = {time_limit}

[[model]]
name = "tiny"

[[scenario]]
name = "latency"
prompt_tokens = 8
new_tokens = 4
"""


@pytest.fixture
def suite(tmp_path: Path) -> Callable[..., Path]:
    """Write a quick suite with these [[backend]] tables."""

    def write(*backends: str, rounds: int = 1, time_limit: float = 60) -> Path:
        path = tmp_path / "suite.toml"
        tables = "".join(f"\n[[backend]]\n{table}\n" for table in backends)
        path.write_text(QUICK.format(rounds=rounds, time_limit=time_limit) + tables)
        return path

    return write


def command(*arguments: str | Path) -> list[str]:
    plugins = [harness.testing.cheats.__file__, harness.testing.faults.__file__]
    return [*HARNESS, "run", *map(str, arguments), *(f"--plugin={p}" for p in plugins)]


def environment(store: Path) -> dict[str, str]:
    return {**os.environ, "HARNESS_STORE": str(store), "NO_COLOR": "1", "COLUMNS": "200"}


@pytest.fixture
def run_suite(tmp_path: Path) -> SuiteRunner:
    """Run a suite through the command line, in a store of its own."""

    def run(*arguments: str | Path, store: Path | None = None) -> Ran:
        place = store or tmp_path / "store"
        done = subprocess.run(
            command(*arguments),
            env=environment(place),
            capture_output=True,
            text=True,
            timeout=240,
            cwd=tmp_path,
        )
        return Ran(done.returncode, done.stderr, done.stdout, place)

    return run


def record_of(out: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(out)
    return found
