"""The third look: the step recorded and replayed by tape, against the step itself.

The tape fills its pool with NaN and knows addresses only, so that what is stale, freed or reused
shows as another result. Between steps other tokens are fed, and another prompt is started.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from harness.contracts import StepSession
from harness.testing.capture.hazard import Hazard, user_place_of
from harness.testing.capture.prompts import PROMPTS, fed, start

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["look_at_replays"]

_STEPS = 4


def look_at_replays(session: StepSession, step: Callable[[], None]) -> list[Hazard]:
    """Follow two prompts by steps and by replays; return where they part."""
    from harness.testing.tape import TapeRuntime

    expected = _follow(session, step)
    try:
        graph = TapeRuntime().capture(step)
        replayed = _follow(session, graph.replay)
    except Exception as error:  # noqa: BLE001 - whatever a step raises is what was found
        reason = f"{type(error).__name__}: {error}"
        return [Hazard.at("replay", user_place_of(error), reason)]
    for number, (seen, wanted) in enumerate(zip(replayed, expected, strict=True)):
        if difference := _difference(seen, wanted):
            return [Hazard.at("replay", None, f"look {number}: {difference}")]
    return []


def _follow(session: StepSession, step: Callable[[], None]) -> Sequence[Tensor]:
    """Return the logits after each step of each prompt."""
    seen = []
    for prompt in range(len(PROMPTS)):
        start(session, prompt)
        for number in range(_STEPS):
            if number == _STEPS - 1:
                session.feed(fed())
            step()
            session.synchronize()
            seen.append(session.logits())
    return seen


def _difference(seen: Tensor, wanted: Tensor) -> str | None:
    import torch

    if torch.allclose(seen, wanted, rtol=1e-3, atol=1e-4):
        return None
    if seen.isnan().any():
        return "logits are NaN: they come from memory that a graph may overwrite"
    return f"logits are off by {(seen - wanted).abs().max():.3g}"
