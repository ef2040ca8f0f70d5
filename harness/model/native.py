"""Our own product of few rows with a matrix, built once on the machine it runs on.

Measured on 2 cores of an AMD EPYC: see docs/performance.md for what it gains over oneDNN, and why.
The source is `linear.cpp` beside this file; it becomes an operator of PyTorch that eager calls and
compilers leave in their graphs. It must not know which layer it serves.
"""

from __future__ import annotations

import functools
import hashlib
import subprocess
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from harness.cache import cache_folder
from harness.devices import cpp_compiler
from harness.errors import UnavailableError

__all__ = ["linear", "pack", "use", "why_not_native"]

_SOURCE = Path(__file__).with_name("linear.cpp")
_PANEL = 32  # outputs that are computed together; as in the source
_INPUTS = {torch.float32: 1, torch.bfloat16: 2}
"""Inputs in a step of four bytes."""
_INSTRUCTIONS = ("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512bf16", "-mfma")
_FLAGS = ("-std=c++20", "-O3", "-fPIC", "-shared", *_INSTRUCTIONS)
_FIRST_STABLE = "0x020a000000000000"
"""PyTorch 2.10: the first whose stable interface has parallel_for."""
_LAST_LINES = 3


def why_not_native(dtype: torch.dtype, device: torch.device) -> str | None:
    """Return why this product cannot be had for this precision here; None where it can."""
    if device.type != "cpu":
        return f"it is for the CPU, not {device.type}"
    if dtype not in _INPUTS:
        return f"it multiplies float32 and bfloat16, not {str(dtype).removeprefix('torch.')}"
    can = torch.cpu.get_capabilities()
    missing = [name for name in ("avx512_f", "avx512_bw", "avx512_bf16") if not can.get(name)]
    if missing:
        return f"this CPU has no {' and no '.join(missing)}"
    if cpp_compiler() is None:
        return "it needs a C++ compiler, and there is none (apt-get install g++, or name it in CXX)"
    return None


def pack(weight: Tensor) -> Tensor:
    """Return a copy of weight [out, in] in the order in which it is read: [panels, steps, step].

    Outputs are padded with zeros to whole panels, inputs to whole steps.
    """
    outputs, inputs = weight.shape
    width = _INPUTS[weight.dtype]
    panels, steps = -(-outputs // _PANEL), -(-inputs // width)
    padded = weight.new_zeros(panels * _PANEL, steps * width)
    padded[:outputs, :inputs] = weight
    by_panel = padded.view(panels, _PANEL, steps, width).permute(0, 2, 1, 3)
    return by_panel.reshape(panels, steps, _PANEL * width).contiguous()  # may be a view still


def linear(x: Tensor, packed: Tensor, bias: Tensor | None, outputs: int) -> Tensor:
    """Return x [..., in] @ weight.T + bias, [..., outputs]; `use` must have been called."""
    product: Tensor = torch.ops.inference_harness.linear(x, packed, bias, outputs)
    return product


@functools.cache
def use() -> None:
    """Load the operator, building it where the cache has none for this source and PyTorch.

    Raises:
        UnavailableError: where it does not compile here.
    """
    torch.ops.load_library(_built())  # type: ignore[no-untyped-call]  # PyTorch's

    @torch.library.register_fake("inference_harness::linear")  # type: ignore[untyped-decorator]
    def _shape(x: Tensor, weight: Tensor, bias: Tensor | None, outputs: int) -> Tensor:
        del weight, bias
        return x.new_empty(*x.shape[:-1], outputs)


def _built() -> Path:
    compiler = cpp_compiler()
    assert compiler is not None, "why_not_native says so"
    root = Path(torch.__file__).parent
    command = [compiler, *_FLAGS, f"-DTORCH_TARGET_VERSION={_FIRST_STABLE}"]
    command += ["-I", str(root / "include"), str(_SOURCE)]
    command += ["-L", str(root / "lib"), "-ltorch_cpu", "-lc10"]
    identity = [_SOURCE.read_text(), torch.__version__, *command, _version(compiler)]
    digest = hashlib.sha256("\0".join(identity).encode()).hexdigest()[:16]
    library = cache_folder("native", digest) / "linear.so"
    if library.exists():
        return library
    # Built aside and renamed: two workers may build at once, and neither loads half a file.
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        made = Path(folder) / library.name
        done = subprocess.run(
            [*command, "-o", str(made)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            why = " ".join(done.stderr.split("\n")[:_LAST_LINES]).strip()
            raise UnavailableError(
                f"the product of rows does not compile here: {why}", remedy='use linear = "auto"'
            )
        made.replace(library)
    return library


def _version(compiler: str) -> str:
    return subprocess.run(
        [compiler, "--version"], capture_output=True, text=True, check=False
    ).stdout.partition("\n")[0]
