"""Where PyTorch can run, answered without importing it: `harness list` asks and must stay quick.

Backends that run on PyTorch return this from `availability`.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from harness.contracts import Availability

__all__ = ["cpp_compiler", "torch_compiles_on", "torch_runs_on"]

_CUDA_BUILD = "pip install torch, choosing a CUDA build at https://pytorch.org/get-started"
_LOOK = "nvidia-smi shows what there is"


def torch_runs_on(device: str) -> Availability:
    """Say whether the installed PyTorch can use `cpu` or `cuda` here.

    Once PyTorch is imported it is asked itself; until then its version and the driver answer.
    """
    if device == "cpu":
        return Availability.yes()
    if device != "cuda":
        return Availability.no(f"PyTorch backends run on cpu and cuda, not on {device}")
    torch = sys.modules.get("torch")
    if torch is not None:
        return _asked(torch)
    version = metadata.version("torch")
    if version.endswith("+cpu"):
        return _without_cuda(version)
    import pynvml

    return _driver(os.environ, pynvml)


def torch_compiles_on(device: str) -> Availability:
    """Say whether PyTorch can run on `cpu` or `cuda` here and compile what it runs."""
    can = torch_runs_on(device)
    if can.ok and device == "cpu" and cpp_compiler() is None:
        return Availability.no(
            "generated code needs a C++ compiler, and there is none",
            "apt-get install g++, or name one in CXX",
        )
    return can


def cpp_compiler() -> str | None:
    """Return the C++ compiler to use: the one that CXX names, or g++ or clang++ where found."""
    named = os.environ.get("CXX")
    return shutil.which(named) if named else shutil.which("g++") or shutil.which("clang++")


def _asked(torch: Any) -> Availability:
    if torch.cuda.is_available():
        return Availability.yes()
    if torch.version.cuda is None:
        return _without_cuda(torch.__version__)
    return Availability.no("PyTorch finds no CUDA device", _LOOK)


def _without_cuda(version: str) -> Availability:
    return Availability.no(f"PyTorch {version} is built without CUDA", _CUDA_BUILD)


def _driver(environment: Mapping[str, str], nvml: Any) -> Availability:
    """Ask NVIDIA's management library, which comes with the driver, whether a GPU is there."""
    if environment.get("CUDA_VISIBLE_DEVICES", "all") in ("", "-1"):
        return Availability.no("CUDA_VISIBLE_DEVICES hides every GPU", "unset CUDA_VISIBLE_DEVICES")
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return Availability.no(f"there is no NVIDIA driver that answers: {error}", _LOOK)
    try:
        count = nvml.nvmlDeviceGetCount()
    except nvml.NVMLError as error:
        return Availability.no(f"the NVIDIA driver counts no GPU: {error}", _LOOK)
    finally:
        nvml.nvmlShutdown()
    return Availability.yes() if count else Availability.no("the machine has no NVIDIA GPU", _LOOK)
