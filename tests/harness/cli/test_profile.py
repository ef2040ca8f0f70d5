"""`harness profile` and `harness explain`, on the real engine: a planted slowdown is found."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN = """
import time
from backends.eager import EagerBackend, EagerSession
import harness.model.decoder as decoder


def dawdle():
    time.sleep(0.05)  # the cause


class Fine(EagerBackend):
    name = "fine"


class Slow(EagerBackend):
    name = "slow"

    def load(self, model, device, options):
        session = super().load(model, device, options)
        step = session.step

        def slower(state):
            dawdle()
            step(state)

        session.step = slower
        return session
"""
SUITE = """
name = "{name}"
[[model]]
name = "tiny"
[[backend]]
name = "{name}"
threads = 1
[[scenario]]
name = "latency"
prompt_tokens = 8
new_tokens = 12
[run]
rounds = 1
max_seconds = 0.2
min_samples = 2
max_samples = 2
"""


def harness(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("harness"), *arguments],
        cwd=folder,
        env={**os.environ, "HARNESS_STORE": str(folder / "store")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hold a plugin with a fine and a slow backend, and a run of each."""
    made = tmp_path_factory.mktemp("explain")
    (made / "plugin.py").write_text(PLUGIN)
    for name in ("fine", "slow"):
        (made / f"{name}.toml").write_text(SUITE.format(name=name))
        done = harness(made, "run", f"{name}.toml", "--plugin", "plugin.py")
        assert done.returncode == 0, done.stderr
    return made


@pytest.mark.slow
def test_a_planted_slowdown_is_named_with_its_file_and_function(folder: Path) -> None:
    done = harness(folder, "explain", "latest~1", "latest", "--rounds", "3", "--json")
    assert done.returncode == 0, done.stderr

    decode = next(a for a in json.loads(done.stdout) if a["phase"] == "decode")
    assert decode["ratio"] > 2
    words = decode["causes"][0]["words"]
    assert "the host's own time" in words
    assert "plugin.py (dawdle)" in words


@pytest.mark.slow
def test_a_profile_shows_families_operators_and_samples(folder: Path) -> None:
    done = harness(
        folder, "profile", "fine.toml", "--plugin", "plugin.py", "--rounds", "1",
        "--seconds", "1", "--with", "torch,roofline,py-spy,trace", "--output", "profiles", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr

    (case,) = json.loads(done.stdout)
    (one,) = case["profiles"]
    assert {p["phase"] for p in one["phases"]} == {"prefill", "decode"}
    decode = next(p for p in one["phases"] if p["phase"] == "decode")
    assert {"gemm", "attention", "norm", "host"} <= {row["family"] for row in decode["rows"]}
    linear = next(row for row in decode["rows"] if row["family"] == "gemm")
    assert linear["flops"] > 0
    assert one["ceilings"]["read_bytes_per_s"] > 1e8
    (trace,) = (folder / "profiles").glob("*.decode.trace.json")
    assert "aten::embedding" in {
        event.get("name") for event in json.loads(trace.read_text())["traceEvents"]
    }
    stacks = list((folder / "profiles").glob("*.raw"))
    assert stacks or any("py-spy" in note for note in one["notes"])
    for stack in stacks:
        assert stack.with_suffix(".svg").read_text().startswith("<svg")
        assert json.loads(stack.with_suffix(".speedscope.json").read_text())["profiles"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("profile", "quick", "--case", "nothing*"), "no case fits 'nothing*'"),
        (
            ("profile", "quick", "--with", "magic"),
            "expected one of torch, roofline, py-spy, trace",
        ),
        (("explain", "none", "latest"), "none"),
    ],
)
def test_bad_input_is_one_line(arguments: tuple[str, ...], line: str, tmp_path: Path) -> None:
    done = harness(tmp_path, *arguments)
    assert done.returncode == 2
    assert line in done.stderr
    assert len(done.stderr.splitlines()) == 1


MINE = """
import time
from backends.eager import EagerBackend, EagerSession


class Mine(EagerBackend):
    name = "mine"

    def load(self, model, device, options):
        session = super().load(model, device, options)
        step = session.step

        def stepped(state):
            {call}
            step(state)

        session.step = stepped
        return session


def dawdle():
    time.sleep(0.005)
"""


@pytest.mark.slow
def test_a_failed_gate_says_why_of_the_commit_that_made_it_slow(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True, capture_output=True)

    (tmp_path / "mine.toml").write_text(SUITE.format(name="mine"))
    (tmp_path / ".gitignore").write_text("store\n")
    git("init")
    git("config", "user.email", "someone@example.org")
    git("config", "user.name", "Someone")
    for call in ("pass", "dawdle()"):
        (tmp_path / "mine.py").write_text(MINE.format(call=call))
        git("add", "-A")
        git("commit", "-m", f"Call {call}")
        done = harness(tmp_path, "run", "mine.toml", "--plugin", "mine.py", "--rounds", "3")
        assert done.returncode == 0, done.stderr

    done = harness(
        tmp_path, "gate", "--baseline", "latest~1", "--candidate", "latest", "--explain",
        "--markdown", "gate.md",
    )  # fmt: skip

    assert done.returncode == 1, done.stdout + done.stderr
    for said in (" ".join(done.stdout.split()), (tmp_path / "gate.md").read_text()):
        assert "why: " in said
        assert "(dawdle)" in said
