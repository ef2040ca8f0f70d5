"""The one door to NVML: a call's value, or a refusal that says which of NVML's refusals it is.

"This driver is too old to know the function", "this GPU does not have the sensor" and "this GPU is
lost" are three things: the first two are final and asked once, the third ends the device, and
anything else may pass. It must not know what is read.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from harness.contracts import Availability

__all__ = ["Nvml", "Refusal", "RefusedError"]


class Refusal(StrEnum):
    """Why NVML gave no value."""

    NO_BINDING = "no-binding"
    NO_LIBRARY = "no-library"
    NO_DRIVER = "no-driver"
    MISMATCH = "mismatch"
    OLD_DRIVER = "old-driver"
    NOT_SUPPORTED = "not-supported"
    NOT_PERMITTED = "not-permitted"
    LOST = "lost"
    PASSING = "passing"

    @property
    def final(self) -> bool:
        """Whether asking again can't help."""
        return self is not Refusal.PASSING


class RefusedError(Exception):
    """NVML refused a call."""

    def __init__(self, kind: Refusal, reason: str) -> None:
        self.kind = kind
        self.reason = reason
        super().__init__(reason)


# NVML's return codes (nvmlReturn_t in nvml.h), what each means to a reader, and what would help.
_KINDS = {
    2: Refusal.OLD_DRIVER,  # an argument it does not know: a field or an enum's value
    3: Refusal.NOT_SUPPORTED,
    4: Refusal.NOT_PERMITTED,
    9: Refusal.NO_DRIVER,
    12: Refusal.NO_LIBRARY,
    13: Refusal.OLD_DRIVER,
    15: Refusal.LOST,
    16: Refusal.LOST,
    18: Refusal.MISMATCH,
    25: Refusal.OLD_DRIVER,  # it does not know this version of the struct
    26: Refusal.OLD_DRIVER,  # deprecated and gone: the driver is newer than the call
}
_WORDS = {
    Refusal.NO_LIBRARY: "libnvidia-ml.so.1 is not there: no NVIDIA driver is installed",
    Refusal.NO_DRIVER: "the NVIDIA driver is not loaded",
    Refusal.MISMATCH: "NVML and the loaded driver are of different versions",
    Refusal.OLD_DRIVER: "this driver does not know {function}",
    Refusal.NOT_SUPPORTED: "this GPU does not have it ({function}: Not Supported)",
    Refusal.NOT_PERMITTED: "this user may not read it ({function}: Insufficient Permissions)",
    Refusal.LOST: "the GPU is lost ({function}: {error})",
    Refusal.PASSING: "{function}: {error}",
}
_REMEDIES = {
    Refusal.NO_BINDING: "pip install nvidia-ml-py",
    Refusal.NO_DRIVER: "sudo modprobe nvidia",
    Refusal.MISMATCH: "reboot, or unload and load the nvidia kernel module again",
    Refusal.NOT_PERMITTED: "sudo nvidia-smi shows whether root may",
}


class Nvml:
    """NVML once started. Every call goes through `call`, which times it.

    Attributes:
        slowest: The function whose call took longest since `forget_slowest`, and how long, in ns.
    """

    def __init__(self, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._now_ns = now_ns
        self._module: Any = None
        self.slowest: tuple[str, int] = ("", 0)

    def start(self) -> None:
        """Load and start the library; RefusedError where it can't be."""
        if self._module is not None:
            return
        try:
            import pynvml
        except ImportError as error:
            raise RefusedError(
                Refusal.NO_BINDING, f"nvidia-ml-py does not import: {error}"
            ) from error
        self._module = pynvml
        try:
            self.call("nvmlInit")
        except RefusedError:
            self._module = None
            raise

    def stop(self) -> None:
        """Give the library back. Calling it twice is harmless."""
        if self._module is None:
            return
        try:
            self.call("nvmlShutdown")
        except RefusedError:
            pass  # a library that is gone has nothing to give back
        finally:
            self._module = None

    @property
    def binding(self) -> Any:
        """The pynvml module, for its constants and structs."""
        return self._module

    def call(self, function: str, *arguments: Any) -> Any:
        """Call one of nvidia-ml-py's functions; RefusedError where NVML gives no value."""
        call = getattr(self._module, function, None)
        if call is None:
            raise RefusedError(
                Refusal.OLD_DRIVER, f"the installed nvidia-ml-py does not know {function}"
            )
        start_ns = self._now_ns()
        try:
            return call(*arguments)
        except self._module.NVMLError as error:
            raise refused(function, int(error.value), str(error)) from error
        finally:
            took_ns = self._now_ns() - start_ns
            if took_ns > self.slowest[1]:
                self.slowest = (function, took_ns)

    def forget_slowest(self) -> tuple[str, int]:
        """Return the slowest call so far and start anew."""
        slowest, self.slowest = self.slowest, ("", 0)
        return slowest

    def availability(self) -> Availability:
        """Say whether NVML starts and sees a GPU."""
        was_started = self._module is not None
        try:
            self.start()
            if not self.call("nvmlDeviceGetCount"):
                return Availability.no("the NVIDIA driver sees no GPU", "nvidia-smi -L")
        except RefusedError as error:
            return Availability.no(error.reason, _REMEDIES.get(error.kind))
        finally:
            if not was_started:
                self.stop()
        return Availability.yes()


def refused(function: str, code: int, error: str) -> RefusedError:
    """Return the refusal that one of NVML's return codes stands for."""
    kind = _KINDS.get(code, Refusal.PASSING)
    return RefusedError(kind, _WORDS[kind].format(function=function, error=error))
