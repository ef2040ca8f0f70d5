"""A way to run small suites through the real engine, and to see what they left."""

import functools
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


def _write(path: Path, *backends: str, rounds: int = 1, time_limit: float = 60) -> Path:
    tables = "".join(f"\n[[backend]]\n{table}\n" for table in backends)
    path.write_text(QUICK.format(rounds=rounds, time_limit=time_limit) + tables)
    return path


@pytest.fixture
def suite(tmp_path: Path) -> Callable[..., Path]:
    """Write a quick suite with these [[backend]] tables."""
    return functools.partial(_write, tmp_path / "suite.toml")


@pytest.fixture(scope="module")
def write_suite(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The same, for runs that a module's tests share."""
    return functools.partial(_write, tmp_path_factory.mktemp("suite") / "suite.toml")


def command(*arguments: str | Path) -> list[str]:
    plugins = [harness.testing.cheats.__file__, harness.testing.faults.__file__]
    return [*HARNESS, "run", *map(str, arguments), *(f"--plugin={p}" for p in plugins)]


def environment(store: Path) -> dict[str, str]:
    return {**os.environ, "HARNESS_STORE": str(store), "NO_COLOR": "1", "COLUMNS": "200"}


def _run(place: Path, *arguments: str | Path, store: Path | None = None) -> Ran:
    store = store or place / "store"
    done = subprocess.run(
        command(*arguments),
        env=environment(store),
        capture_output=True,
        text=True,
        timeout=240,
        cwd=place,
    )
    return Ran(done.returncode, done.stderr, done.stdout, store)


@pytest.fixture
def run_suite(tmp_path: Path) -> SuiteRunner:
    """Run a suite through the command line, in a store of its own."""
    return functools.partial(_run, tmp_path)


@pytest.fixture(scope="module")
def run_suite_once(tmp_path_factory: pytest.TempPathFactory) -> SuiteRunner:
    """The same, for runs that a module's tests share."""
    return functools.partial(_run, tmp_path_factory.mktemp("runs"))


def record_of(out: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(out)
    return found
