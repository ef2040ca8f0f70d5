"""CUDA_VISIBLE_DEVICES to UUIDs."""

import pytest

from harness.telemetry.visible import Gpu, Slice, nvml_uuid, visible

ONE = Gpu("GPU-aa11", "L4", "00000000:81:00.0")
TWO = Gpu("GPU-aa22", "L4", "00000000:01:00.0")
SLICED = Gpu("GPU-bb33", "A100", "00000000:21:00.0", (Slice("MIG-m1", 1, 0), Slice("MIG-m2", 2, 0)))
MIXED = [ONE, SLICED]
ALIKE = [ONE, TWO]


def test_without_the_variable_all_are_seen() -> None:
    assert visible({}, MIXED).uuids == ("GPU-aa11", "GPU-bb33")


@pytest.mark.parametrize("value", ["", "-1", "NoDevFiles"])
def test_nothing_is_seen_where_nothing_is_named(value: str) -> None:
    assert visible({"CUDA_VISIBLE_DEVICES": value}, ALIKE).uuids == ()


def test_an_index_counts_by_bus_and_not_in_nvmls_order() -> None:
    assert visible({"CUDA_VISIBLE_DEVICES": "0"}, ALIKE).uuids == ("GPU-aa22",)
    assert visible({"CUDA_VISIBLE_DEVICES": "1, 0"}, ALIKE).uuids == ("GPU-aa11", "GPU-aa22")


def test_an_index_among_different_models_needs_the_order_to_be_set() -> None:
    unset = visible({"CUDA_VISIBLE_DEVICES": "0"}, MIXED)
    assert unset.uuids == ()
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in str(unset.doubt)
    order = {"CUDA_VISIBLE_DEVICES": "0", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert visible(order, MIXED).uuids == ("GPU-bb33",)


def test_what_follows_an_entry_that_means_nothing_is_not_seen() -> None:
    found = visible({"CUDA_VISIBLE_DEVICES": "0,7,1"}, ALIKE)
    assert found.uuids == ("GPU-aa22",)
    assert "7 is past the 2 GPUs here" in str(found.doubt)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("GPU-aa", "more than one GPU"),
        ("GPU-cc", "no GPU here"),
        ("aa11", "no GPU here"),
        ("MIG-m9", "no MIG device here"),
        ("GPU-aa11,GPU-aa11", "twice"),
    ],
)
def test_what_cannot_be_resolved_is_said(value: str, says: str) -> None:
    assert says in str(visible({"CUDA_VISIBLE_DEVICES": value}, [*ALIKE, SLICED]).doubt)


@pytest.mark.parametrize("value", ["MIG-m2", "MIG-GPU-bb33/2/0"])
def test_a_slice_has_two_names(value: str) -> None:
    assert visible({"CUDA_VISIBLE_DEVICES": value}, MIXED).uuids == ("MIG-m2",)


def test_torchs_uuid_has_no_prefix() -> None:
    assert nvml_uuid("aa11", MIXED) == "GPU-aa11"
    assert nvml_uuid("m2", MIXED) == "MIG-m2"
    assert nvml_uuid("GPU-bb33", MIXED) == "GPU-bb33"
    assert nvml_uuid("zz", MIXED) is None
