"""A step session over an engine that brings its own kernels and cache: all that these share.

A backend subclasses it and says how to allocate, read prompts and make a step; order of calls, the
cache's end, padding and closing are the same for all. torch is imported inside functions, because
plugins import this when they are listed. It must not know which engine it drives.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from harness.contracts import StepSession
from harness.errors import SessionError
from harness.model.session import return_freed_pages

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["EngineSession"]

T = TypeVar("T")


class EngineSession(StepSession):
    """Rows of prompts over an engine. B rows, T tokens of a prompt, C positions, V vocabulary.

    Args:
        device: `cpu` or `cuda`.
        facts: What the backend chose, to be recorded with the run.
    """

    batch = 0
    context = 0
    span = 0
    """Positions of the longest row: 0 before a prefill."""

    def __init__(self, device: str, facts: Mapping[str, Any]) -> None:
        self._device = device
        self._facts = facts
        self._closed = False
        self._tokens: Tensor | None = None
        self._logits: Tensor | None = None

    @abstractmethod
    def allocate(self, batch: int, context: int) -> tuple[Tensor, Tensor]:
        """Have all memory for this shape; return the tokens int64 [B] and logits float32 [B, V].

        Both are kept: `start` and `step` write into them, and `step` reads the tokens.
        """

    @abstractmethod
    def start(self, tokens: Tensor, lengths: Tensor) -> None:
        """Start every row anew: tokens int64 [B, T], padded with 0, and lengths int64 [B]."""

    @abstractmethod
    def step(self) -> None:
        """Feed each row its last token, the longest one's at position `span - 1`."""

    @abstractmethod
    def release(self) -> None:
        """Let go of everything that the shape needed. May be called when there is nothing."""

    @abstractmethod
    def unload(self) -> None:
        """Let go of the weights."""

    def prepare(self, batch: int, context: int) -> None:
        """Allocate for `batch` rows of `context` positions; the earlier shape is given up first."""
        if self._closed:
            raise SessionError("the session is closed")
        self._tokens = self._logits = None
        self.release()
        self.batch, self.context, self.span = batch, context, 0
        self._tokens, self._logits = self.allocate(batch, context)

    def reset(self) -> None:
        """Forget every row."""
        self._needed(self._tokens)
        self.span = 0

    def prefill(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Process prompts [B, T] of `lengths` [B]; return the first tokens, int64 [B].

        Raises:
            SessionError: where the prompts do not fit what was prepared.
        """
        import torch

        made = self._needed(self._tokens)
        if tokens.shape[0] != self.batch or tokens.shape[1] > self.context:
            raise SessionError(
                f"prompts of shape {list(tokens.shape)} do not fit",
                expected=f"{self.batch} rows of at most {self.context} tokens, as prepared",
            )
        longest = int(lengths.max())
        tokens = tokens[:, :longest]
        padding = torch.arange(longest) >= lengths[:, None]  # holds anything, even no token at all
        self.span = longest
        with torch.inference_mode():
            self.start(tokens.masked_fill(padding, 0), lengths)
        return made

    def decode(self) -> Tensor:
        """Feed each row its last token; return the next, int64 [B].

        Raises:
            SessionError: before a prefill, and where a row would pass the prepared context.
        """
        import torch

        made = self._needed(self._tokens)
        if not 0 < self.span < self.context:
            raise SessionError(
                f"position {self.span} passes the context of {self.context} positions"
                if self.span
                else "decode before prefill"
            )
        self.span += 1
        with torch.inference_mode():
            self.step()
        return made

    def feed(self, tokens: Tensor) -> None:
        """Replace the tokens that the next `decode` feeds: int64 [B] on the host."""
        self._needed(self._tokens).copy_(tokens)

    def logits(self) -> Tensor:
        """Return the logits behind the last tokens: float32 [B, V] on the host, a copy."""
        return self._needed(self._logits).to("cpu", copy=True)

    def synchronize(self) -> None:
        """Wait for the GPU. On a CPU an engine's call returns when its work is complete."""
        import torch

        if self._device == "cuda":
            torch.cuda.synchronize()

    def close(self) -> None:
        """Drop weights and buffers, and hand the freed pages back to the system."""
        if not self._closed:
            self._closed = True
            self._tokens = self._logits = None
            self.release()
            self.unload()
        return_freed_pages()

    def facts(self) -> Mapping[str, Any]:
        """Say what was chosen."""
        return self._facts

    def _needed(self, value: T | None) -> T:
        if value is None:
            raise SessionError(
                "the session is closed" if self._closed else "the session is not prepared",
                expected=None if self._closed else "prepare(batch, context)",
            )
        return value
