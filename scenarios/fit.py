"""The largest shape that fits a memory budget, found without ever going over it.

A bisection over sizes in which a size is tried only when its predicted peak is within the budget,
and the prediction learns from what was measured. It must not be killed for memory: what cannot be
predicted to fit is not tried.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.contracts import Lab, StepSession
from scenarios.workload import Prompts

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Fit", "largest_fit", "needed_bytes"]

_MARGIN = 1.05
_FIRST_SLOPE = 1.25
_RESOLUTION = 32
_TELLING_BYTES = 2**20


@dataclass
class Fit:
    """Tries shapes on a session, and predicts what untried ones would take."""

    session: StepSession
    lab: Lab
    prompt_tokens: int
    """Of each row of a probe: short, so that a probe of many rows is quick."""
    budget_bytes: int
    """What the process may use in all."""
    seen_peak_bytes: float
    """Peak of the last shape that was run; predictions start from it."""
    seen_needed_bytes: float
    """What that shape needs at least."""
    _asked: int = field(default=0, init=False)
    _slope: float = field(default=_FIRST_SLOPE, init=False)
    """Bytes that a peak rises by for each byte that a shape needs more."""

    def predicted_bytes(self, batch: int, context: int) -> float:
        """Return the peak that this shape would reach, a margin on what it adds included."""
        more = needed_bytes(self.lab, batch, context) - self.seen_needed_bytes
        return self.seen_peak_bytes + (_MARGIN * self._slope * more if more > 0 else more)

    def probe(self, batch: int, context: int) -> int | None:
        """Prepare, prefill and decode once; return the peak, None where memory ran out.

        Raises:
            Exception: whatever else the session raises.
        """
        import torch

        meter = self.lab.memory
        tokens = min(self.prompt_tokens, context - 1)
        try:
            self.session.prepare(1, 2)  # what the last shape took is given back before this one
            meter.reset_peak()
            self.session.prepare(batch, context)
            self.session.reset()
            self.session.prefill(self._fresh(batch, tokens), torch.full((batch,), tokens))
            self.session.decode()
            self.session.synchronize()
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, MemoryError) or "memory" in str(error).lower():
                return None
            raise
        peak = meter.peak_bytes()
        needed = needed_bytes(self.lab, batch, context)
        if abs(needed - self.seen_needed_bytes) >= _TELLING_BYTES:
            rise = (peak - self.seen_peak_bytes) / (needed - self.seen_needed_bytes)
            self._slope = max(rise, 1.0)
        self.seen_peak_bytes, self.seen_needed_bytes = peak, needed
        return peak

    def _fresh(self, batch: int, tokens: int) -> Tensor:
        import torch

        prompts = Prompts(self.lab.model, self.lab.seed, "fit")
        numbers = range(self._asked, self._asked + batch)
        self._asked += batch
        return torch.tensor([prompts.at(n, tokens) for n in numbers])


def needed_bytes(lab: Lab, batch: int, context: int) -> int:
    """Return the bytes that a shape needs at least: its KV cache, and a float32 logit per id."""
    return lab.model.kv_bytes(batch, context, lab.dtype) + 4 * batch * lab.model.vocab_size


def largest_fit(
    predicted_bytes: Callable[[int], float],
    probe: Callable[[int], int | None],
    sizes: range,
    budget_bytes: int,
) -> int:
    """Return the largest size that was seen to fit the budget; 0 where none does.

    Sizes are told apart to 3 %: memory is not measured better than that.

    Args:
        predicted_bytes: Peak that a size would reach; rises with the size, learns from probes.
        probe: Tries a size; its peak, None where memory ran out.
        sizes: Those of interest, rising by one.
        budget_bytes: What a peak must not pass.
    """
    fits, too_large = sizes.start - 1, sizes.stop
    while too_large - fits > max(1, fits // _RESOLUTION):
        size = _largest_predicted(predicted_bytes, fits, too_large, budget_bytes)
        if size == fits:
            break
        peak = probe(size)
        if peak is not None and peak <= budget_bytes:
            fits = size
        else:
            too_large = size
    return fits if fits in sizes else 0


def _largest_predicted(
    predicted_bytes: Callable[[int], float], fits: int, too_large: int, budget_bytes: int
) -> int:
    """Bisect on the prediction alone, which costs nothing."""
    low, high = fits, too_large
    while high - low > 1:
        middle = (low + high) // 2
        if predicted_bytes(middle) <= budget_bytes:
            low = middle
        else:
            high = middle
    return low
