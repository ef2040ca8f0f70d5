"""Eager, and a declared delay on every decoded token: the smallest backend that does something.

Copy this package to start one of your own. A backend that computes by itself derives from the same
two classes; what each method must do stands in `harness.contracts`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from backends.eager import EagerBackend, EagerOptions
from harness.contracts import Availability, Backend, StepSession

if TYPE_CHECKING:
    from torch import Tensor

    from harness.model import Model

__all__ = ["DelayedBackend", "DelayedOptions", "DelayedSession"]


class DelayedOptions(EagerOptions):
    """Everything eager takes, and the delay."""

    delay_ms: float = Field(default=5.0, ge=0)
    """Added to every decoded token, whatever the batch."""


class DelayedBackend(Backend):
    """Eager, slowed down by a known amount."""

    summary = "eager with a declared delay per decoded token"
    Options = DelayedOptions

    def __init__(self) -> None:
        self._eager = EagerBackend()

    def availability(self, device: str) -> Availability:
        """It runs wherever eager does."""
        return self._eager.availability(device)

    def load(self, model: Model, device: str, options: DelayedOptions) -> DelayedSession:
        """Load eager and remember the delay."""
        session = self._eager.load(model, device, options)
        return DelayedSession(session, delay_ns=round(options.delay_ms * 1e6))


class DelayedSession(StepSession):
    """Another step session; `decode` takes `delay_ns` longer, all else is passed on."""

    def __init__(self, session: StepSession, delay_ns: int) -> None:
        self._session = session
        self._delay_ns = delay_ns

    def prepare(self, batch: int, context: int) -> None:
        """Prepare for this shape."""
        self._session.prepare(batch, context)

    def close(self) -> None:
        """Give the memory back."""
        self._session.close()

    def reset(self) -> None:
        """Forget every row."""
        self._session.reset()

    def prefill(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Process the prompts: tokens int64 [B, T], lengths int64 [B], returns int64 [B]."""
        return self._session.prefill(tokens, lengths)

    def decode(self) -> Tensor:
        """Return the next token of each row, int64 [B], after the delay."""
        token = self._session.decode()
        _wait(self._delay_ns)
        return token

    def feed(self, tokens: Tensor) -> None:
        """Replace the tokens that the next `decode` feeds: int64 [B]."""
        self._session.feed(tokens)

    def logits(self) -> Tensor:
        """Return the logits behind the last tokens: float32 [B, V]."""
        return self._session.logits()

    def synchronize(self) -> None:
        """Wait for all that was submitted."""
        self._session.synchronize()

    def facts(self) -> Mapping[str, Any]:
        """Eager's facts and the delay."""
        return {**self._session.facts(), "delay_ms": self._delay_ns / 1e6}


def _wait(duration_ns: int) -> None:
    # It looks at the clock and never sleeps. The next token finds cold caches either way; after a
    # sleep it took 0.28 ms longer, after this 0.08 ms (model tiny, 8 rounds, 5 ms declared).
    end_ns = time.monotonic_ns() + duration_ns
    while time.monotonic_ns() < end_ns:
        pass
