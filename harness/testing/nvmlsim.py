"""NVML simulated: builds the C library in tests/nvmlsim and plays scripts on it.

The library stands in for the driver's; nvidia-ml-py loads it unmodified. Its script language is in
tests/nvmlsim/README.md. A driver version it gives always holds `nvmlsim`.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

from harness.errors import UnavailableError

__all__ = ["SimulatedNvml", "build", "environment"]

_NAME = "libnvidia-ml.so.1"


def build(source: Path, folder: Path, *, without: Sequence[str] = ()) -> Path:
    """Compile the simulator; return the library's path, `folder`/libnvidia-ml.so.1.

    Args:
        source: The folder of its C files.
        folder: Where it goes; made if it is not there.
        without: Functions that it does not export, as an older driver would not.

    Raises:
        UnavailableError: where there is no C compiler, or no nvml.h from nvidia-nvml-dev.
    """
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise UnavailableError("the NVML simulator needs a C compiler", remedy="apt install gcc")
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / _NAME
    exports = folder / "exports.map"
    hidden = "".join(f"{name}; " for name in without)
    exports.write_text(f"{{ global: nvml*; local: {hidden}*; }};\n", encoding="utf-8")
    command = [
        compiler, "-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared",
        "-I", str(_header().parent), *map(str, sorted(source.glob("*.c"))), "-lm",
        f"-Wl,-soname,{_NAME}", f"-Wl,--version-script={exports}", "-Wl,-z,defs",
        "-o", str(library),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UnavailableError(f"the NVML simulator does not compile: {done.stderr}")
    return library


def environment(library: Path, script: Path, base: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which a fresh process finds the simulator in the driver's place."""
    places = [str(library.parent), *filter(None, [base.get("LD_LIBRARY_PATH")])]
    return {**base, "LD_LIBRARY_PATH": ":".join(places), "NVMLSIM_SCRIPT": str(script)}


class SimulatedNvml:
    """The simulator inside this process, with a clock that the test moves.

    Once loaded it stays: nvidia-ml-py asks for `libnvidia-ml.so.1`, and the system's loader answers
    with the library of that name that is there already.
    """

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
        self._library.nvmlsim_load.restype = ctypes.c_char_p
        self._library.nvmlsim_now_s.restype = ctypes.c_double
        self._library.nvmlsim_true_joules.restype = ctypes.c_double
        self._library.nvmlsim_sizeof.restype = ctypes.c_uint

    def play(self, script: str) -> None:
        """Begin a script at its zero; ValueError, with the line, where it is wrong."""
        # nvidia-ml-py counts its own starts; a run before that broke off would leave NVML started.
        error = self._library.nvmlsim_load(script.encode())
        if error is not None:
            raise ValueError(error.decode())

    def now_s(self) -> float:
        """Return the script's time."""
        return float(self._library.nvmlsim_now_s())

    def now_ns(self) -> int:
        """Return the script's time in ns."""
        return round(self.now_s() * 1e9)

    def set_s(self, seconds: float) -> None:
        """Move the clock to this time of the script; for `clock set` and `clock step`."""
        self._library.nvmlsim_set_s(ctypes.c_double(seconds))

    def pass_s(self, seconds: float) -> None:
        """Let time pass on a clock that the test moves."""
        self.set_s(self.now_s() + seconds)

    def true_joules(self, device: int, from_s: float, until_s: float) -> float:
        """Return what a device truly used between two times."""
        return float(
            self._library.nvmlsim_true_joules(
                ctypes.c_int(device), ctypes.c_double(from_s), ctypes.c_double(until_s)
            )
        )

    def size_of(self, name: str) -> int:
        """Return a C struct's size as the header has it; 0 for one the simulator does not use."""
        return int(self._library.nvmlsim_sizeof(name.encode()))


def _header() -> Path:
    try:
        files = metadata.files("nvidia-nvml-dev") or ()
    except metadata.PackageNotFoundError as error:
        raise UnavailableError(
            "the NVML simulator needs NVIDIA's header nvml.h",
            remedy=f"{sys.executable} -m pip install nvidia-nvml-dev",
        ) from error
    for file in files:
        if file.name == "nvml.h":
            return Path(str(file.locate()))
    raise UnavailableError("nvidia-nvml-dev is installed and holds no nvml.h")
