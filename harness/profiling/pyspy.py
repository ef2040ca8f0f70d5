"""py-spy beside the process that calls it: samples of its Python stacks, taken from outside.

The process starts py-spy as its child and lets it trace, which works without root where the kernel
restricts tracing to descendants. Where it does not work, the reason names the setting.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UnavailableError

__all__ = ["RATE_HZ", "Sampled", "dump", "py_spy_path", "sample_self", "why_not"]

RATE_HZ = 100
_PR_SET_PTRACER = 0x59616D61
_ANY = ctypes.c_ulong(-1)
_YAMA = Path("/proc/sys/kernel/yama/ptrace_scope")


@dataclass(frozen=True)
class Sampled:
    """What py-spy brought back."""

    raw: str
    """Collapsed stacks."""
    seconds: float


def py_spy_path() -> str | None:
    """Return the py-spy of this environment, or the one on the path."""
    beside = Path(sys.executable).with_name("py-spy")
    return str(beside) if beside.exists() else shutil.which("py-spy")


def why_not() -> str | None:
    """Return what forbids to trace here, as far as it can be told without trying."""
    if py_spy_path() is None:
        return "py-spy is not installed: pip install py-spy"
    with contextlib.suppress(OSError, ValueError):
        if int(_YAMA.read_text()) >= 2 and os.geteuid():
            return "kernel.yama.ptrace_scope is 2 or more: only root may trace (sysctl it to 1)"
    return None


def dump(pid: int, seconds: float = 5.0) -> str:
    """Return the stacks of every thread of another process, Python's and below it.

    It needs nothing of that process: it may sit in a loop of C code and answer no signal.

    Raises:
        UnavailableError: where py-spy is not there, may not trace, or takes too long.
    """
    reason = why_not()
    if reason:
        raise UnavailableError(f"py-spy: {reason}")
    try:
        done = subprocess.run(
            [str(py_spy_path()), "dump", "--pid", str(pid), "--nonblocking"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"py-spy: no answer in {seconds:g} s") from error
    if done.returncode or not done.stdout.strip():
        last = (done.stderr.strip().splitlines() or ["no reason"])[-1]
        raise UnavailableError(f"py-spy: {last}")
    return done.stdout


def sample_self(
    work: Callable[[], None], output: Path, seconds: float, *, native: bool = False
) -> Sampled:
    """Call `work` again and again while py-spy samples this process.

    Args:
        work: One unit of what is profiled.
        output: Where py-spy writes its stacks.
        seconds: How long it samples.
        native: Also C and C++ frames, where py-spy can unwind them.

    Raises:
        UnavailableError: where py-spy is not there or may not trace.
    """
    reason = why_not()
    if reason:
        raise UnavailableError(f"py-spy: {reason}")
    ctypes.CDLL(None).prctl(_PR_SET_PTRACER, _ANY, 0, 0, 0)
    command = [
        str(py_spy_path()), "record", "--pid", str(os.getpid()), "--format", "raw",
        "--rate", str(RATE_HZ), "--duration", str(max(1, round(seconds))), "--nonblocking",
        "--output", str(output),
    ]  # fmt: skip
    if native:
        command.remove("--nonblocking")  # unwinding needs the process to stand still
        command.append("--native")
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        while process.poll() is None:
            work()
        said = (process.stderr.read() if process.stderr else b"").decode("utf-8", "replace")
    if process.returncode or not output.exists():
        last = next((line for line in reversed(said.splitlines()) if line.strip()), "no reason")
        raise UnavailableError(
            f"py-spy: {last.strip()}",
            remedy="in a container: add the capability SYS_PTRACE; else sysctl "
            "kernel.yama.ptrace_scope=1",
        )
    return Sampled(output.read_text(), seconds)
