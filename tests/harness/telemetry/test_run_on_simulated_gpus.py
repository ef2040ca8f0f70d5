"""Given two simulated GPUs of which one is lost, when a suite runs, then what is stored?"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.store import Run, Store
from harness.store.beside import beside, no_energy
from harness.store.record import CaseRecord
from harness.testing.nvmlsim import environment

_SUITE = """
[run]
rounds = 2
max_seconds = 0.4
min_samples = 2
time_limit = 60

[[model]]
name = "tiny"

[[backend]]
name = "eager"
threads = 1

[[scenario]]
name = "latency"
prompt_tokens = 8
new_tokens = 4
"""
_WATTS = 120
_SCRIPT = f"""
driver 550.54.15
device 0 uuid=GPU-good name=Simulated_H100
device 1 uuid=GPU-lost name=Simulated_H100
at 0 0 power={_WATTS} sm=1500
at 1 0 power=80 sm=1500
sensor 0 energy period=20
sensor 1 energy period=20
fault 0 nvmlDeviceGetTotalEccErrors not_supported 0 -
fault 1 * gpu_is_lost 3 -
"""


@pytest.fixture(scope="module")
def run(nvml_library: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    place = tmp_path_factory.mktemp("simulated")
    (place / "suite.toml").write_text(_SUITE)
    (place / "script").write_text(_SCRIPT)
    surroundings = environment(nvml_library, place / "script", os.environ)
    done = subprocess.run(
        [str(Path(sys.executable).with_name("harness")), "run", "suite.toml"],
        env={**surroundings, "HARNESS_STORE": str(place / "store"), "NO_COLOR": "1"},
        capture_output=True, text=True, timeout=240, cwd=place,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return Store(place / "store").find("latest")


@pytest.fixture(scope="module")
def case(run: Run) -> CaseRecord:
    (found,) = run.record.cases
    return found


@pytest.mark.slow
def test_the_run_is_marked_as_simulated(run: Run) -> None:
    assert run.record.simulated == "NVML (driver 550.54.15-nvmlsim)"


@pytest.mark.slow
def test_the_run_completes_with_its_other_figures(case: CaseRecord) -> None:
    assert case.status == "done"
    headlines = [f for f in case.figures if f.statistic == "p50"]  # p99 needs more samples
    assert headlines
    assert all(figure.reading.value is not None for figure in headlines)


@pytest.mark.slow
def test_the_energy_of_each_phase_holds_the_truth_on_a_real_clock(case: CaseRecord) -> None:
    apart = ("prefill", "decode")
    known = [e for e in case.energy if e.device == "GPU-good" and e.phase not in apart]
    assert {"load", "prepare", "measure"} <= {energy.phase for energy in known}
    for energy in known:
        joules = energy.joules
        assert (energy.method, joules.reason) == ("counter", None), energy
        assert joules.low is not None
        assert joules.high is not None
        assert joules.low <= _WATTS * energy.seconds <= joules.high, energy


@pytest.mark.slow
def test_measured_tokens_have_their_joules_gross_and_net(case: CaseRecord) -> None:
    energy = next(e for e in case.energy if e.device == "GPU-good" and e.phase == "measure")
    iterations = sum(p.measured_iterations for r in case.rounds for p in r.points)
    assert energy.tokens == 4 * iterations
    assert energy.joules.value is not None
    assert energy.joules_per_token.value == pytest.approx(energy.joules.value / energy.tokens)
    # The simulated GPU takes the same power idle: beyond idling it used nothing, within the error.
    net = energy.net_joules
    assert net.low is not None
    assert net.high is not None
    assert net.low <= 0 <= net.high


@pytest.mark.slow
def test_prefill_and_decode_of_a_tiny_model_are_too_short_for_the_counter_and_say_so(
    run: Run, case: CaseRecord
) -> None:
    apart = [e for e in case.energy if e.phase in ("prefill", "decode")]
    assert {(e.phase, e.device) for e in apart} == {
        (kind, device) for kind in ("prefill", "decode") for device in ("GPU-good", "GPU-lost")
    }
    good = [e for e in apart if e.device == "GPU-good"]
    assert {e.joules_per_token.value for e in good} == {None}
    assert all("and the sensor shows" in str(e.joules.reason) for e in good)
    for energy in good:
        assert energy.idle_watts is not None
        assert energy.idle_watts.value == pytest.approx(_WATTS, rel=0.1)
    rows = {row.name: row for row in beside(case)}
    assert rows["energy per token (GPU-good)"].value.endswith("J")
    assert rows["prefill, per prompt token (GPU-good)"].value == "–"
    assert no_energy(run.record) is None


@pytest.mark.slow
def test_a_gpu_that_is_lost_is_named_and_never_zero(run: Run, case: CaseRecord) -> None:
    lost = [e for e in case.energy if e.device == "GPU-lost" and e.phase == "measure"]
    assert [(e.joules.value, e.joules_per_token.value) for e in lost] == [(None, None)]
    assert "the GPU is lost" in str(lost[0].joules.reason)
    readings = run.telemetry
    late = readings[(readings["device"] == "GPU-lost") & readings["value"].isna()]
    assert len(late) > 10
    assert late["reason"].str.contains("the GPU is lost").all()


@pytest.mark.slow
def test_a_sensor_that_is_not_there_is_absent_with_its_reason(run: Run) -> None:
    (process,) = run.record.telemetry
    nvml = next(sampler for sampler in process.samplers if sampler.name == "nvml")
    assert "does not have it" in nvml.absent["GPU-good ecc_corrected"]
    assert nvml.facts["used"] == ["GPU-good", "GPU-lost"]
