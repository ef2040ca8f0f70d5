"""Nsight Systems: its command, its ranges; the program itself is played by a script."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from backends.eager import EagerBackend, EagerOptions
from harness.errors import UnavailableError
from harness.model import open_model
from harness.profiling import memory, nsys
from harness.profiling.collect import ProfiledSession

NSYS = """#!/usr/bin/env bash
# As the real one: options, then the program, whose files it leaves open.
printf '%s\\n' "$@" > "$(dirname "$0")/arguments"
shift
while [[ $1 == --* ]]; do [[ $1 == --output=* ]] && report=${1#--output=}; shift; done
"$@" || exit $?
echo made > "$report.nsys-rep"
"""
SUITE = """
[[model]]
name = "tiny"
[[backend]]
name = "eager"
threads = 1
[[scenario]]
name = "latency"
prompt_tokens = 8
new_tokens = 12
"""


def test_where_it_is_not_installed_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(UnavailableError, match="not on the PATH") as raised:
        nsys.command(Path("report"))

    assert "nsight-systems-cli" in str(raised.value)


def test_phases_and_layers_are_ranges_one_in_the_other() -> None:
    said: list[str] = []
    ranges = nsys.Ranges(said.append, lambda: said.append("end"))
    options = EagerOptions(dtype="float32", threads=1, linear="plain")
    session = ProfiledSession(EagerBackend().load(open_model("tiny"), "cpu", options), lambda: 0)
    session.prepare(1, 16)
    session.ranged = ranges.call
    session.current = "ranged"

    session.prefill(torch.zeros(1, 4, dtype=torch.int64), torch.tensor([4]))
    for _ in range(3):
        session.decode()

    layers = open_model("tiny").config.layers
    inner = [word for n in range(layers) for word in (f"layer {n}", "end")]
    assert said == ["prefill", *inner, "end", "decode", *inner, "end"]
    # then the decoder is what it was: a call that is not watched marks nothing
    session.end_window()
    session.current = "none"
    session.prefill(torch.zeros(1, 4, dtype=torch.int64), torch.tensor([4]))
    assert len(said) == 2 * (2 * layers + 2)


@pytest.mark.skipif(torch.version.cuda is not None, reason="this PyTorch is built with CUDA")
def test_without_cuda_there_are_no_ranges_and_it_says_so() -> None:
    with pytest.raises(UnavailableError, match="built without CUDA"):
        nsys.nvtx()


@pytest.mark.slow
def test_the_worker_runs_within_it_and_a_note_says_where_the_report_is(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "nsys"
    program.parent.mkdir()
    program.write_text(NSYS)
    program.chmod(0o755)
    (tmp_path / "suite.toml").write_text(SUITE)

    done = subprocess.run(
        [
            Path(sys.executable).with_name("harness"), "profile", "suite.toml",
            "--with", "nsys", "--rounds", "1", "--output", "seen",
        ],
        cwd=tmp_path,
        env={
            **os.environ, "HARNESS_STORE": str(tmp_path / "store"), "COLUMNS": "400",
            "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    (report,) = (tmp_path / "seen").rglob("*.nsys-rep")
    assert report.name in done.stdout
    arguments = (program.parent / "arguments").read_text().splitlines()
    assert arguments[0] == "profile"
    assert "--trace=cuda,nvtx,osrt" in arguments
    assert "harness.engine.worker" in arguments


def test_a_gpus_allocations_are_recorded_and_left_in_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said: list[object] = []
    monkeypatch.setattr(
        torch.cuda.memory, "_record_memory_history", lambda **given: said.append(given)
    )
    monkeypatch.setattr(torch.cuda.memory, "_dump_snapshot", said.append)

    with pytest.raises(ZeroDivisionError), memory.device_history(tmp_path / "a.pickle"):
        1 / 0  # noqa: B018

    assert said == [{"max_entries": 100_000}, str(tmp_path / "a.pickle"), {"enabled": None}]
