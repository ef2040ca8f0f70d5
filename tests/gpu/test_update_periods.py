"""2. How often power, energy and utilization change, under a load that changes too."""

from collections.abc import Iterator

import pytest

from harness.telemetry.gauges import FIELDS
from harness.telemetry.nvml_door import Nvml
from harness.telemetry.periods import longest_gap_s, update_periods


@pytest.fixture
def nvml() -> Iterator[Nvml]:
    door = Nvml()
    door.start()
    yield door
    door.stop()


def test_the_energy_counter_moves_at_least_every_200_ms(nvml: Nvml) -> None:
    handle = nvml.call("nvmlDeviceGetHandleByIndex", 0)
    fields = [field for field in FIELDS if field.name in ("energy_j", "power_instant_w")]
    found = update_periods(nvml, [("gpu", handle, fields)], watch_s=3.0)
    energy = found["gpu", "energy_j"]
    print({name: (reading.value, reading.reason) for (_, name), reading in found.items()})
    assert energy.value is not None, energy.reason
    assert energy.value < 0.2


def test_utilization_moves_within_a_second_of_a_load_that_comes_and_goes(nvml: Nvml) -> None:
    import time

    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("PyTorch finds no CUDA device")
    handle = nvml.call("nvmlDeviceGetHandleByIndex", 0)
    matrix = torch.ones(4096, 4096, device="cuda")
    rows, start_s = [], time.monotonic()
    while (now_s := time.monotonic()) - start_s < 6:
        if (now_s - start_s) % 1.0 < 0.5:
            matrix = matrix @ matrix * 1e-4
            torch.cuda.synchronize()
        rates = nvml.call("nvmlDeviceGetUtilizationRates", handle)
        rows.append((now_s, time.monotonic(), float(rates.gpu)))
    gap = longest_gap_s(rows, 6.0)
    print(gap)
    assert gap.value is not None, gap.reason
    assert gap.value <= 1.6
