"""Which GPU a case uses is told before its worker starts, by UUID."""

from harness.telemetry.gpus import devices_used
from harness.testing.nvmlsim import SimulatedNvml

_TWO = """
clock set
device 0 uuid=GPU-aaaa name=Simulated bus=00000000:01:00.0
device 1 uuid=GPU-bbbb name={other} bus=00000000:02:00.0
"""


def test_it_is_the_first_that_is_visible(simulator: SimulatedNvml) -> None:
    simulator.play(_TWO.format(other="Simulated"))

    assert devices_used({}) == ("GPU-aaaa",)
    assert devices_used({"CUDA_VISIBLE_DEVICES": "1,0"}) == ("GPU-bbbb",)
    assert devices_used({"CUDA_VISIBLE_DEVICES": "GPU-bbbb"}) == ("GPU-bbbb",)
    assert devices_used({"CUDA_VISIBLE_DEVICES": ""}) == ()


def test_among_different_models_it_is_told_only_where_the_order_is_known(
    simulator: SimulatedNvml,
) -> None:
    simulator.play(_TWO.format(other="Another"))

    assert devices_used({}) == ()
    assert devices_used({"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}) == ("GPU-aaaa",)


def test_nvml_that_does_not_start_is_no_error(simulator: SimulatedNvml) -> None:
    simulator.play(f"{_TWO.format(other='Simulated')}\nfault * nvmlInit driver_not_loaded 0 -")

    assert devices_used({}) == ()
