"""A simulated run is told from a real one."""

from harness.telemetry.simulated import is_simulated, simulated_by


def test_a_simulated_driver_is_told() -> None:
    gpus = [{"driver": "550.54.15"}, {"driver": "550.54.15-nvmlsim"}]
    assert simulated_by({"gpus": gpus}) == "NVML (driver 550.54.15-nvmlsim)"


def test_a_real_machine_is_not() -> None:
    assert simulated_by({"gpus": [{"driver": "550.54.15"}]}) is None
    assert simulated_by({"gpus": {"absent": "NVML: Driver Not Loaded"}}) is None
    assert simulated_by({}) is None


def test_a_driver_that_is_not_known_is_not_simulated() -> None:
    assert not is_simulated({"driver": {"absent": "NVML: nvmlsim is not a version"}})
