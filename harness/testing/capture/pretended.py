"""The second look: the step on a GPU that is only pretended, by PyTorch's fake tensors.

They have a shape and a device but no content, so that a tensor left on the host is seen among those
on the device, and a value that the host asks for is not there. It runs in a process of its own: to
pretend, PyTorch's idea of CUDA is changed, and that cannot be undone.

    python -P -m harness.testing.capture.pretended < REQUEST.json
"""

from __future__ import annotations

import contextlib
import ctypes
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter

from harness.contracts import Availability, Backend, StepSession
from harness.errors import HarnessError
from harness.testing.capture.hazard import Hazard, user_place_of
from harness.testing.capture.prompts import BATCH, CONTEXT

__all__ = ["Answer", "Request", "look_at_a_pretended_gpu"]

_SECONDS = 120
"""For one backend: importing torch and one step of a small model take a tenth of it."""
_CUDA = 1
"""Its number among `c10::DeviceType`."""


class Request(BaseModel):
    """What the other process is asked to look at."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backends: list[str]
    options: dict[str, Any]
    model: str
    plugin_files: list[Path] = []


class Answer(BaseModel):
    """What it found, or why it could not look."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hazards: list[Hazard] = []
    not_looked: str | None = None


_ANSWERS = TypeAdapter(list[Answer])


def look_at_a_pretended_gpu(request: Request) -> list[Answer]:
    """Ask another process about each backend; one that breaks is a reason why nothing was seen."""
    nothing = "it took too long"
    with contextlib.suppress(subprocess.TimeoutExpired):
        ended = subprocess.run(
            [sys.executable, "-P", "-m", __name__],
            input=request.model_dump_json(),
            capture_output=True,
            text=True,
            timeout=_SECONDS * len(request.backends),
            check=False,
        )
        if ended.returncode == 0:
            return _ANSWERS.validate_json(ended.stdout.splitlines()[-1])
        last = (ended.stderr.strip().splitlines() or ["no reason given"])[-1]
        nothing = f"the process ended with status {ended.returncode}: {last}"
    return [Answer(not_looked=nothing)] * len(request.backends)


def main() -> None:
    """Answer one request, on one line."""
    from harness.plugins import add_file

    request = Request.model_validate_json(sys.stdin.read())
    for path in request.plugin_files:
        add_file(path)
    answers = [_look(request, name) for name in request.backends]
    print(_ANSWERS.dump_json(answers).decode())


def _look(request: Request, name: str) -> Answer:
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    from harness.model import open_model
    from harness.plugins import find
    from harness.testing.capture.watch import Watch

    backend = find(Backend, name)
    model = open_model(request.model)
    if not torch.cuda.is_available() and (reason := _pretend()):
        return Answer(not_looked=reason)
    with FakeTensorMode(allow_non_fake_inputs=True):
        try:
            options = backend.Options.model_validate({**request.options, "device": "cuda"})
            session = backend.load_uncaptured(model, "cuda", options)
            session.prepare(BATCH, CONTEXT)
            step = session.fixed_step() if isinstance(session, StepSession) else None
        except Exception as error:  # noqa: BLE001 - whatever a backend raises is why
            reason = f"it could not be loaded there: {type(error).__name__}: {error}"
            return Answer(not_looked=" ".join(reason.split()))
        if step is None:
            return Answer(not_looked="it has no step to capture there")
        watch = Watch(pretended=True)
        torch.cuda.synchronize = _noting(watch)
        try:
            with watch.watching():
                step()
        except Exception as error:  # noqa: BLE001 - whatever a step raises is what was found
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raised = Hazard.at("raises", user_place_of(error), reason)
            return Answer(hazards=[*watch.hazards, raised])
    return Answer(hazards=watch.hazards)


def _noting(watch: Any) -> Callable[..., None]:
    def synchronize(device: Any = None) -> None:
        del device
        watch.note("waits", "torch.cuda.synchronize")

    return synchronize


def _pretend() -> str | None:
    """Let backends believe in a GPU, and PyTorch switch to it; return why that is impossible."""
    import torch

    from harness import devices

    # Backends of ours ask through `torch_runs_on`.
    devices._asked = lambda torch: Availability.yes()  # noqa: ARG005, SLF001
    if torch.version.cuda is not None:
        return None  # fake tensors then do the rest themselves
    return _guard_cuda()


def _guard_cuda() -> str | None:
    """Have PyTorch built without CUDA switch to a device "cuda" by doing nothing.

    PyTorch does this itself where it finds a guard for CUDA that counts no device, as a build with
    CUDA has on a machine without a GPU. So give it one: an object whose every method returns 0.
    """
    import torch

    library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libc10.so"))
    try:
        guards = (ctypes.c_void_p * (_CUDA + 1)).in_dll(
            library, "_ZN3c104impl26device_guard_impl_registryE"
        )
    except ValueError:
        return f"PyTorch {torch.__version__} does not show where it keeps its device guards"
    zero = ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 0)
    methods = (ctypes.c_void_p * 64)(*[ctypes.cast(zero, ctypes.c_void_p).value] * 64)
    guard = ctypes.c_void_p(ctypes.addressof(methods))
    ours = ctypes.addressof(guard)
    guards[_CUDA] = ours
    torch._C._ensureCUDADeviceGuardSet()  # noqa: SLF001 - what fake tensors call, too
    if guards[_CUDA] == ours:
        guards[_CUDA] = None
        return f"PyTorch {torch.__version__} does not replace a device guard without devices"
    return None


if __name__ == "__main__":
    try:
        main()
    except HarnessError as error:
        sys.exit(str(error))
