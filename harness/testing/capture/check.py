"""The three looks at a backend, as one report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from harness.contracts import Backend, StepSession
from harness.errors import UnavailableError
from harness.model import Model, open_model
from harness.plugins import find
from harness.testing.capture.hazard import Hazard, distinct
from harness.testing.capture.pretended import Request, look_at_a_pretended_gpu
from harness.testing.capture.prompts import BATCH, CONTEXT

__all__ = ["CaptureReport", "check_capture"]


class CaptureReport(BaseModel):
    """What stands in the way of capturing a backend's step."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backend: str
    operations: int
    """How many aten operations one step has."""
    hazards: list[Hazard]
    not_looked: dict[str, str] = {}
    """Looks that were not to be had here, each with its reason."""

    @property
    def safe(self) -> bool:
        """Whether all looks were taken, and none found anything."""
        return not self.hazards and not self.not_looked


def check_capture(
    names: Sequence[str],
    *,
    options: dict[str, Any] | None = None,
    model: str = "tiny",
    plugin_files: Sequence[Path] = (),
) -> list[CaptureReport]:
    """Look at the step of each backend in three ways.

    Args:
        names: Of backends, as the plugins know them.
        options: Of their own.
        model: Whose weights they get; a small one shows as much as a large one.
        plugin_files: Files that backends come from; they are loaded already in this process.

    Raises:
        UnavailableError: where a backend has no step that could be captured.
    """
    given = {"threads": 1, **(options or {})}  # nothing is timed, and two steps are compared
    opened = open_model(model)
    here = [_look_here(name, given, opened) for name in names]
    request = Request(
        backends=list(names), options=given, model=model, plugin_files=list(plugin_files)
    )
    answers = look_at_a_pretended_gpu(request)
    reports = []
    for name, (operations, hazards), answer in zip(names, here, answers, strict=True):
        found = [*hazards, *(h.by("pretended") for h in answer.hazards)]
        reasons = {"pretended": answer.not_looked} if answer.not_looked else {}
        reports.append(
            CaptureReport(
                backend=name, operations=operations, hazards=distinct(found), not_looked=reasons
            )
        )
    return reports


def _look_here(name: str, options: dict[str, Any], model: Model) -> tuple[int, list[Hazard]]:
    """Take the looks at a CPU; return how many operations there are, and what was found."""
    from harness.testing.capture.operations import look_at_operations
    from harness.testing.capture.replayed import look_at_replays

    backend = find(Backend, name)
    chosen = backend.Options.model_validate({**options, "device": "cpu"})
    session = backend.load_uncaptured(model, "cpu", chosen)
    try:
        session.prepare(BATCH, CONTEXT)
        step = session.fixed_step() if isinstance(session, StepSession) else None
        if step is None or not isinstance(session, StepSession):
            raise UnavailableError(
                "has no step that could be captured",
                where=name,
                expected="a session whose `fixed_step` returns one",
            )
        found, operations = look_at_operations(session, step)
        hazards = [hazard.by("operations") for hazard in found]
        if not any(hazard.kind in _REFUSED for hazard in found):
            hazards += [hazard.by("replayed") for hazard in look_at_replays(session, step)]
    finally:
        session.close()
    return operations, hazards


_REFUSED = {"waits", "shape", "pinned", "raises"}
"""What a capture refuses: there would be nothing to replay."""
