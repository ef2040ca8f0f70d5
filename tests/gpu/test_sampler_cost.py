"""7. The sampler on and off, interleaved beside one live worker: it costs less than 0.5 %."""

import pytest

from benchmarks.telemetry import cost, session_on
from harness.devices import torch_runs_on


def test_the_sampler_costs_less_than_half_a_percent_of_decode_throughput() -> None:
    if not (can := torch_runs_on("cuda")).ok:
        pytest.skip(f"torch cannot use the GPU: {can.reason}")

    found = cost(session_on("cuda", "smollm2-135m"), blocks=200, seconds=0.25, hz=50)

    print(found)
    assert found["low"] > 0.995
    assert found["low"] <= 1.005
