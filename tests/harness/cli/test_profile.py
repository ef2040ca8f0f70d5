"""`harness profile`, `explain`, `run --profile` on the real engine: a planted cause is found."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.profiling.stored import profiles_of
from harness.store import Store

PLUGIN = """
import time
from backends.eager import EagerBackend, EagerSession
import harness.model.decoder as decoder


def dawdle():
    time.sleep(0.004)  # the cause


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
[telemetry]
enabled = false
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
    """Hold a run of a fine backend, profiled in an extra round, and one of a slow one."""
    made = tmp_path_factory.mktemp("explain")
    (made / "plugin.py").write_text(PLUGIN)
    for name, extra in (("fine", ("--profile",)), ("slow", ())):
        (made / f"{name}.toml").write_text(SUITE.format(name=name))
        done = harness(made, "run", f"{name}.toml", "--plugin", "plugin.py", *extra)
        assert done.returncode == 0, done.stderr
        if extra:
            assert "profile: done" in done.stderr
            assert "where the time goes" in done.stdout
    return made


@pytest.fixture(scope="module")
def explanation(folder: Path) -> list[dict[str, Any]]:
    """What `harness explain` says of both runs, also as a page and as Markdown."""
    done = harness(
        folder, "explain", "latest~1", "latest", "--rounds", "3", "--json",
        "-o", "why.html", "-o", "why.md",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_a_planted_slowdown_is_named_with_its_file_and_function(
    explanation: list[dict[str, Any]],
) -> None:
    decode = next(a for a in explanation if a["phase"] == "decode")
    assert decode["ratio"] > 2
    words = decode["causes"][0]["words"]
    assert "the host's own time" in words
    assert "plugin.py (dawdle)" in words


@pytest.mark.slow
def test_the_page_and_the_markdown_say_the_same_and_show_what_grew(
    folder: Path, explanation: list[dict[str, Any]]
) -> None:
    page, table = ((folder / f"why.{kind}").read_text() for kind in ("html", "md"))

    assert explanation[0]["phase"] == "decode"
    assert "plugin.py (dawdle)" in page
    assert "dawdle" in table
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")
    sampled = "<svg" in page
    assert sampled or "py-spy" in page


@pytest.mark.slow
def test_a_run_with_profiles_has_the_same_figures_and_is_completed_without_them(
    folder: Path,
) -> None:
    run = Store(folder / "store").find("latest~1")
    (seen,) = profiles_of(run)
    before = (run.path / "run.json").read_bytes()
    assert {phase.phase for phase in seen.profile.phases} == {"prefill", "decode"}
    assert seen.profile.ceilings["read_bytes_per_s"] > 1e8  # the run's own
    assert seen.profile.phases[0].per_iteration == 1  # one prompt a request
    shutil.rmtree(run.path / "profiles")

    done = harness(folder, "run", "--resume", run.id)

    assert done.returncode == 0, done.stderr
    assert (run.path / "run.json").read_bytes() == before
    assert len(profiles_of(run)) == 1
    assert "round 1" not in done.stderr


@pytest.mark.slow
def test_a_profile_shows_families_operators_and_what_lives_at_the_peak(folder: Path) -> None:
    done = harness(
        folder, "profile", "fine.toml", "--plugin", "plugin.py", "--rounds", "1", "--seconds", "1",
        "--with", "torch,roofline,trace,memory,counters", "--output", "profiles", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr

    (case,) = json.loads(done.stdout)
    one, alone = case["profiles"]
    assert {p["phase"] for p in one["phases"]} == {"prefill", "decode"}
    decode = next(p for p in one["phases"] if p["phase"] == "decode")
    assert {"gemm", "attention", "norm", "host"} <= {row["family"] for row in decode["rows"]}
    linear = next(row for row in decode["rows"] if row["family"] == "gemm")
    assert linear["flops"] > 0
    assert one["files"][linear["function"].rpartition(":")[0]].startswith("/")
    assert one["ceilings"]["read_bytes_per_s"] > 1e8
    (trace,) = (folder / "profiles").glob("*.decode.trace.json")
    assert "aten::embedding" in {
        event.get("name") for event in json.loads(trace.read_text())["traceEvents"]
    }
    refused = [note for note in one["notes"] if note.startswith("counters")]
    assert refused or one["counters"]["instructions"] > 0
    assert {"load", "prepare", "prefill", "decode"} <= {
        held["phase"] for held in alone["memory"]["phases"]
    }
    assert alone["memory"]["largest"][0]["bytes"] > 0


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("profile", "quick", "--case", "nothing*"), "no case fits 'nothing*'"),
        (("profile", "quick", "--with", "magic"), "expected one of torch, roofline, py-spy"),
        (("run", "quick", "--profile-with", "pyspy"), "did you mean"),
        (("run", "quick", "--profile-case", "nothing*"), "no case fits 'nothing*'"),
        (("run", "quick", "--set", "profile.kinds=[1]"), "profile.kinds"),
        (("explain", "a", "b", "-o", "why.pdf"), "why.pdf names no form"),
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
    {work}
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
    for call, work in (("pass", "pass"), ("dawdle()", "time.sleep(0.005)")):
        (tmp_path / "mine.py").write_text(MINE.format(call=call, work=work))
        git("add", "-A")
        git("commit", "-m", f"Work is now {work}")
        done = harness(tmp_path, "run", "mine.toml", "--plugin", "mine.py", "--rounds", "3")
        assert done.returncode == 0, done.stderr

    done = harness(
        tmp_path, "gate", "--baseline", "latest~1", "--candidate", "latest", "--explain",
        "--explain-rounds", "3", "--markdown", "gate.md",
        "--explain-to", "why.json",
    )  # fmt: skip

    assert done.returncode == 1, done.stdout + done.stderr
    for said in (" ".join(done.stdout.split()), (tmp_path / "gate.md").read_text()):
        assert "why: " in said
        assert "(dawdle)" in said
        assert "new since" in said
        assert "Work is now time.sleep(0.005)" in said
    decode = next(p for p in json.loads((tmp_path / "why.json").read_text()) if p["is_sure"])
    assert decode["causes"][0]["blamed"]["file"] == "mine.py"
