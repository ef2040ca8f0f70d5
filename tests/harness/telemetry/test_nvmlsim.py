"""The simulator: its layout is nvidia-ml-py's, its truth is exact, its scripts are checked."""

import ctypes

import pynvml
import pytest

from harness.testing.nvmlsim import SimulatedNvml

_STRUCTS = {
    "nvmlMemory_t": pynvml.c_nvmlMemory_t,
    "nvmlMemory_v2_t": pynvml.c_nvmlMemory_v2_t,
    "nvmlUtilization_t": pynvml.c_nvmlUtilization_t,
    "nvmlFieldValue_t": pynvml.c_nvmlFieldValue_t,
    "nvmlProcessInfo_v2_t": pynvml.c_nvmlProcessInfo_v3_t,
    "nvmlPciInfo_t": pynvml.nvmlPciInfo_t,
    "nvmlGpmMetric_t": pynvml.c_nvmlGpmMetric_t,
    "nvmlGpmMetricsGet_t": pynvml.c_nvmlGpmMetricsGet_t,
    "nvmlGpmSupport_t": pynvml.c_nvmlGpmSupport_t,
}


@pytest.mark.parametrize("name", _STRUCTS)
def test_a_struct_has_the_size_that_nvidia_ml_py_gives_it(
    simulator: SimulatedNvml, name: str
) -> None:
    assert simulator.size_of(name) == ctypes.sizeof(_STRUCTS[name])


def test_a_struct_of_a_version_it_does_not_know_is_refused(simulator: SimulatedNvml) -> None:
    simulator.play("clock set\ndevice 0")
    pynvml.nvmlInit()
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        with pytest.raises(pynvml.NVMLError) as caught:
            pynvml.nvmlDeviceGetMemoryInfo(handle, pynvml.nvmlMemory_v2 + 1)
        assert caught.value.value == 25  # NVML_ERROR_ARGUMENT_VERSION_MISMATCH
    finally:
        pynvml.nvmlShutdown()


def test_the_driver_says_that_it_is_simulated(simulator: SimulatedNvml) -> None:
    simulator.play("driver 550.54.15\ndevice 0")
    pynvml.nvmlInit()
    try:
        assert pynvml.nvmlSystemGetDriverVersion() == "550.54.15-nvmlsim"
    finally:
        pynvml.nvmlShutdown()


def test_true_energy_is_the_integral_of_steps_and_ramps(simulator: SimulatedNvml) -> None:
    simulator.play("clock set\ndevice 0\nat 0 0 power=100\nat 0 1 power=200\nto 0 3 power=400")
    assert simulator.true_joules(0, 0, 1) == pytest.approx(100)
    assert simulator.true_joules(0, 1, 3) == pytest.approx(600)
    assert simulator.true_joules(0, 0.5, 4) == pytest.approx(50 + 600 + 400)


def test_a_sensor_shows_its_last_update_and_not_the_truth(simulator: SimulatedNvml) -> None:
    simulator.play(
        "clock set\ndevice 0\nat 0 0 power=100\nat 0 1 power=300\n"
        "sensor 0 power.usage period=100 window=1000"
    )
    pynvml.nvmlInit()
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        seen = []
        for at_s in (1.0, 1.55, 1.59, 3.0):
            simulator.set_s(at_s)
            seen.append(pynvml.nvmlDeviceGetPowerUsage(handle))
        assert seen == [100_000, 200_000, 200_000, 300_000]
    finally:
        pynvml.nvmlShutdown()


def test_a_step_clock_moves_with_each_call(simulator: SimulatedNvml) -> None:
    simulator.play("clock step 2\ndevice 0")
    pynvml.nvmlInit()
    try:
        before_s = simulator.now_s()
        pynvml.nvmlDeviceGetCount()
        assert simulator.now_s() == pytest.approx(before_s + 0.002)
    finally:
        pynvml.nvmlShutdown()


def test_a_real_clock_moves_by_itself(simulator: SimulatedNvml) -> None:
    simulator.play("clock monotonic\ndevice 0")
    one_s, two_s = simulator.now_s(), simulator.now_s()
    assert 0 <= one_s < two_s


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("devise 0", "line 2 (devise): unknown statement"),
        ("at 3 0 power=1", "no such device"),
        ("at 0 0 wattage=1", "unknown signal"),
        ("at 0 0 power=much", "a number was expected"),
        ("fault 0 nvmlDeviceGetCount exploded 0 -", "unknown error"),
        ("sensor 0 thermometer period=1", "unknown sensor"),
        ("clock sundial", "were expected"),
    ],
)
def test_a_wrong_script_is_refused_with_its_line(
    simulator: SimulatedNvml, line: str, says: str
) -> None:
    with pytest.raises(ValueError, match="line 2") as caught:
        simulator.play(f"device 0\n{line}")
    assert says in str(caught.value)


def test_time_that_runs_back_is_refused(simulator: SimulatedNvml) -> None:
    with pytest.raises(ValueError, match="time runs back"):
        simulator.play("device 0\nat 0 2 power=1\nat 0 1 power=2")
