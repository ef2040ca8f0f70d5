"""3. A device is the same one for CUDA and for NVML, however CUDA_VISIBLE_DEVICES names it."""

import os
import subprocess
import sys

import pytest

from harness.telemetry.gpus import find_gpus
from harness.telemetry.nvml_door import Nvml
from harness.telemetry.visible import Gpu, nvml_uuid, visible

_ASK = """
import torch
for i in range(torch.cuda.device_count()):
    print(torch.cuda.get_device_properties(i).uuid)
"""


@pytest.fixture(scope="module")
def gpus() -> list[Gpu]:
    torch = pytest.importorskip("torch")
    if torch.version.cuda is None:
        pytest.skip("PyTorch is built without CUDA")
    nvml = Nvml()
    nvml.start()
    try:
        return find_gpus(nvml)[0]
    finally:
        nvml.stop()


def _settings(gpus: list[Gpu]) -> list[dict[str, str]]:
    order = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    last = len(gpus) - 1
    backwards = ",".join(str(i) for i in reversed(range(len(gpus))))
    found = [
        order,
        order | {"CUDA_VISIBLE_DEVICES": str(last)},
        order | {"CUDA_VISIBLE_DEVICES": backwards},
        order | {"CUDA_VISIBLE_DEVICES": "0,99"},
        {"CUDA_VISIBLE_DEVICES": gpus[last].uuid},
        {"CUDA_VISIBLE_DEVICES": gpus[last].uuid[:20]},
        {"CUDA_VISIBLE_DEVICES": ""},
    ]
    slices = [part.uuid for gpu in gpus for part in gpu.slices]
    return found + [{"CUDA_VISIBLE_DEVICES": uuid} for uuid in slices[:1]]


def test_cuda_sees_what_we_say_it_sees(gpus: list[Gpu]) -> None:
    for setting in _settings(gpus):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("CUDA_")} | setting
        done = subprocess.run(
            [sys.executable, "-c", _ASK],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        seen = tuple(nvml_uuid(line, gpus) for line in done.stdout.split())
        assert seen == visible(environment, gpus).uuids, setting
