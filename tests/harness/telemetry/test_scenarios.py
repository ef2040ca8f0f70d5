"""What the NVML sampler says in each scenario of tests/nvmlsim/scenarios."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.testing.nvml_scenarios import load, play
from harness.testing.nvmlsim import SimulatedNvml, build, environment

_FOLDER = Path(__file__).parents[2] / "nvmlsim"
_SCENARIOS = {path.stem: path for path in sorted((_FOLDER / "scenarios").glob("*.toml"))}
_ALONE = [name for name, path in _SCENARIOS.items() if load(path).alone]


def test_there_are_at_least_20_scenarios() -> None:
    assert len(_SCENARIOS) >= 20


@pytest.mark.parametrize("name", [name for name in _SCENARIOS if name not in _ALONE])
def test_the_sampler_says_what_it_must(simulator: SimulatedNvml, name: str) -> None:
    assert play(load(_SCENARIOS[name]), simulator) == []


@pytest.mark.parametrize("name", _ALONE)
def test_the_sampler_says_what_it_must_in_a_process_of_its_own(name: str, tmp_path: Path) -> None:
    scenario = load(_SCENARIOS[name])
    surroundings = {**os.environ, "LD_LIBRARY_PATH": ""}
    if scenario.library:
        library = build(_FOLDER, tmp_path / "lib", without=scenario.without)
        script = tmp_path / "script"
        script.write_text(scenario.script, encoding="utf-8")
        surroundings = environment(library, script, surroundings)

    done = subprocess.run(
        [sys.executable, "-P", "-m", "harness.testing.nvml_scenarios", str(_SCENARIOS[name])],
        env=surroundings, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


def test_a_disagreement_is_found(simulator: SimulatedNvml) -> None:
    scenario = load(_SCENARIOS["h100-instant-power"])
    wrong = scenario.read[0].model_copy(update={"values": {"power_instant_w": 700.0}})

    found = play(scenario.model_copy(update={"read": [wrong]}), simulator)

    assert any("power_instant_w" in line and "expected 700.0" in line for line in found)
    assert play(scenario.model_copy(update={"watched": []}), simulator) != []
