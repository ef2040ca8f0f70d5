"""Our own operators: a product with a matrix, and one query's look at its cache.

They are built once, on the machine they run on. docs/performance.md has what they gain over
PyTorch's own on 2 cores of an AMD EPYC, and why. Their sources are `linear.cpp` and `attention.cpp`
beside this file; they become operators of PyTorch that eager calls and compilers leave in their
graphs. They must not know which layer they serve.
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

__all__ = ["decode_attention", "linear", "pack", "use", "why_not_native"]

_SOURCES = [Path(__file__).with_name(name) for name in ("linear.cpp", "attention.cpp")]
_HEADER = Path(__file__).with_name("numbers.h")
_PANEL = 32  # outputs that are computed together; as in the source
_INPUTS = {torch.float32: 1, torch.bfloat16: 2}
"""Inputs in a step of four bytes."""
_INSTRUCTIONS = ("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512bf16", "-mfma")
_FLAGS = ("-std=c++20", "-O3", "-fPIC", "-shared", *_INSTRUCTIONS)
_FIRST_STABLE = "0x020a000000000000"
"""PyTorch 2.10: the first whose stable interface has parallel_for."""
_LAST_LINES = 3


def why_not_native(dtype: torch.dtype, device: torch.device) -> str | None:
    """Return why they cannot be had for this precision here; None where they can."""
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


def decode_attention(queries: Tensor, slots: Tensor, positions: Tensor, kv_heads: int) -> Tensor:
    """Return what each head saw [B, H, Dh]; `use` must have been called.

    It takes one layer's whole cache, since a compiler may copy a part of it to hand that over.

    Args:
        queries: [B, H, Dh]; H/K neighbours share a key head.
        slots: [B·2·K·C, Dh]: each row's keys, then its values. Read as far as the row's position.
        positions: int64 [B], each below C.
        kv_heads: K.
    """
    seen: Tensor = torch.ops.inference_harness.decode_attention(queries, slots, positions, kv_heads)
    return seen


@functools.cache
def use() -> None:
    """Load the operators, building them where the cache has none for these sources and PyTorch.

    Raises:
        UnavailableError: where they do not compile here.
    """
    torch.ops.load_library(_built())  # type: ignore[no-untyped-call]  # PyTorch's

    @torch.library.register_fake("inference_harness::linear")  # type: ignore[untyped-decorator]
    def _shape(x: Tensor, weight: Tensor, bias: Tensor | None, outputs: int) -> Tensor:
        del weight, bias
        return x.new_empty(*x.shape[:-1], outputs)

    @torch.library.register_fake("inference_harness::decode_attention")  # type: ignore[untyped-decorator]
    def _seen(queries: Tensor, slots: Tensor, positions: Tensor, kv_heads: int) -> Tensor:
        del slots, positions, kv_heads
        return queries.new_empty(queries.shape)


def _built() -> Path:
    compiler = cpp_compiler()
    assert compiler is not None, "why_not_native says so"
    root = Path(torch.__file__).parent
    command = [compiler, *_FLAGS, f"-DTORCH_TARGET_VERSION={_FIRST_STABLE}"]
    command += ["-I", str(root / "include"), *map(str, _SOURCES)]
    command += ["-L", str(root / "lib"), "-ltorch_cpu", "-lc10"]
    read = [path.read_text() for path in (*_SOURCES, _HEADER)]
    identity = [*read, torch.__version__, *command, _version(compiler)]
    digest = hashlib.sha256("\0".join(identity).encode()).hexdigest()[:16]
    library = cache_folder("native", digest) / "operators.so"
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
                f"our own operators do not compile here: {why}", remedy='use linear = "auto"'
            )
        made.replace(library)
    return library


def _version(compiler: str) -> str:
    return subprocess.run(
        [compiler, "--version"], capture_output=True, text=True, check=False
    ).stdout.partition("\n")[0]
