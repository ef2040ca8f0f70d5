"""Is a backend's step safe to capture as a CUDA graph? Answered on a CPU, before a GPU is rented.

    operations  the step on the CPU, three times: what it calls, on which addresses, what it keeps
    pretended   the step on a GPU that is only pretended: what waits for it, what lies on the host
    replayed    the step recorded and replayed by `TapeRuntime`, against the step itself

The first two name file and line; the third finds what neither can name. None needs a GPU, none says
that a GPU's own libraries will agree. It knows no backend.
"""

from harness.testing.capture.check import CaptureReport, check_capture
from harness.testing.capture.hazard import HAZARDS, Hazard

__all__ = ["HAZARDS", "CaptureReport", "Hazard", "check_capture"]
