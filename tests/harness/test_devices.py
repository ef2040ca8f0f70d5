"""Where PyTorch can run, without importing it."""

import subprocess
import sys
from importlib import metadata
from types import SimpleNamespace
from typing import Any

import pytest

from harness import devices
from harness.devices import torch_runs_on


class NVMLError(Exception):
    pass


class Driver:
    """As much of pynvml as is asked, with a given number of GPUs."""

    NVMLError = NVMLError

    def __init__(self, count: int | None, loaded: bool = True) -> None:
        self.count, self.loaded, self.open = count, loaded, 0

    def nvmlInit(self) -> None:  # noqa: N802 - NVML's name
        if not self.loaded:
            raise NVMLError("Driver Not Loaded")
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802 - NVML's name
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802 - NVML's name
        if self.count is None:
            raise NVMLError("GPU is lost")
        return self.count


def test_a_cpu_is_always_there() -> None:
    assert torch_runs_on("cpu").ok


def test_a_device_of_another_kind_is_refused() -> None:
    assert torch_runs_on("tpu").reason == "PyTorch backends run on cpu and cuda, not on tpu"


def test_a_build_without_cuda_is_told_by_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(metadata, "version", lambda _: "2.13.0+cpu")
    can = torch_runs_on("cuda")
    assert can.reason == "PyTorch 2.13.0+cpu is built without CUDA"
    assert can.remedy


@pytest.mark.parametrize(
    ("driver", "reason"),
    [
        (Driver(2), None),
        (Driver(0), "the machine has no NVIDIA GPU"),
        (Driver(None), "counts no GPU: GPU is lost"),
        (Driver(1, loaded=False), "no NVIDIA driver that answers: Driver Not Loaded"),
    ],
)
def test_the_driver_says_whether_a_gpu_is_there(driver: Driver, reason: str | None) -> None:
    can = devices._driver({}, driver)
    assert can.ok is (reason is None)
    assert (reason or "") in (can.reason or "")
    assert driver.open == 0


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_hidden_gpus_are_not_there(hidden: str) -> None:
    can = devices._driver({"CUDA_VISIBLE_DEVICES": hidden}, Driver(2))
    assert can.reason == "CUDA_VISIBLE_DEVICES hides every GPU"


@pytest.mark.parametrize(
    ("there", "cuda", "reason"),
    [
        (True, "13.0", None),
        (False, "13.0", "PyTorch finds no CUDA device"),
        (False, None, "PyTorch 2.13.0 is built without CUDA"),
    ],
)
def test_pytorch_is_asked_itself_once_it_is_imported(
    monkeypatch: pytest.MonkeyPatch, there: bool, cuda: str | None, reason: str | None
) -> None:
    torch: Any = SimpleNamespace(
        cuda=SimpleNamespace(is_available=lambda: there),
        version=SimpleNamespace(cuda=cuda),
        __version__="2.13.0",
    )
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert torch_runs_on("cuda").reason == reason


def test_asking_does_not_import_pytorch() -> None:
    code = (
        "import sys; from harness.devices import torch_runs_on; torch_runs_on('cuda'); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, check=True)
    assert done.stdout.strip() == b"False"
