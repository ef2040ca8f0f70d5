"""A step session over the reference decoder: all that eager, compiled and captured ones share.

A backend subclasses it and overrides how prompts are read and a step is made; order of calls, the
cache's end and the copies to the host are the same for all. torch is imported inside functions,
because plugins import this when they are listed. It must not know which backend it serves.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from harness.contracts import Held, StepSession
from harness.errors import SessionError

if TYPE_CHECKING:
    from torch import Tensor

    from harness.model.decoder import Decoder, State

__all__ = ["DecoderSession", "return_freed_pages"]


class DecoderSession(StepSession):
    """A decoder and, once prepared, the state it works on.

    Args:
        decoder: The weights, where they will be used.
        facts: What the backend chose, to be recorded with the run.
    """

    spare_positions: ClassVar[int] = 0
    """Positions allocated beyond what is asked for, never used: a compiler that may assume so makes
    one graph for every number of positions, where the full cache would be a case of its own."""

    def __init__(self, decoder: Decoder, facts: Mapping[str, Any]) -> None:
        self._decoder: Decoder | None = decoder
        self._state: State | None = None
        self._context = 0
        self._facts = {
            "linear": decoder.layout,
            "attention": decoder.attention,
            **facts,
            "weight_bytes": decoder.nbytes,
            "weight_bytes_kept_twice": decoder.twice_bytes,
        }

    def read_prompts(self, state: State, tokens: Tensor, lengths: Tensor) -> None:
        """Start every row anew with a prompt [B, T] that fits; override to do it otherwise."""
        from harness.model.decoder import prefill

        prefill(self.loaded(), state, tokens, lengths)

    def step(self, state: State) -> None:
        """Make one step, `state.span` raised already; override to do it otherwise."""
        from harness.model.decoder import step

        step(self.loaded(), state)

    def prepare(self, batch: int, context: int) -> None:
        """Allocate the state, touching all of it, so that no first touch is timed."""
        from harness.model.decoder import State

        decoder = self.loaded()
        self._state = None  # released before the next is allocated
        positions = context + self.spare_positions
        self._state = State.allocate(
            decoder.config, batch, positions, decoder.dtype, decoder.device
        )
        self._context = context

    def reset(self) -> None:
        """Forget every row."""
        import torch

        with torch.inference_mode():
            self.prepared().reset()

    def prefill(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Process prompts [B, T] of `lengths` [B]; return the first tokens, int64 [B].

        Raises:
            SessionError: where the prompts do not fit what was prepared.
        """
        import torch

        state = self.prepared()
        if tokens.shape[0] != state.batch or tokens.shape[1] > self._context:
            raise SessionError(
                f"prompts of shape {list(tokens.shape)} do not fit",
                expected=f"{state.batch} rows of at most {self._context} tokens, as prepared",
            )
        with torch.inference_mode():
            self.read_prompts(state, tokens, lengths)
        return state.tokens

    def decode(self) -> Tensor:
        """Feed each row its last token; return the next, int64 [B].

        Raises:
            SessionError: before a prefill, and where a row would pass the prepared context.
        """
        import torch

        state = self.prepared()
        if not 0 < state.span < self._context:  # the longest row's next position, by the host
            raise SessionError(
                f"position {state.span} passes the context of {self._context} positions"
                if state.span
                else "decode before prefill"
            )
        state.span += 1
        with torch.inference_mode():
            self.step(state)
        return state.tokens

    def feed(self, tokens: Tensor) -> None:
        """Replace the tokens that the next `decode` feeds: int64 [B] on the host."""
        import torch

        with torch.inference_mode():
            self.prepared().tokens.copy_(tokens)

    def logits(self) -> Tensor:
        """Return the logits behind the last tokens: float32 [B, V] on the host, a copy."""
        return self.prepared().logits.to("cpu", copy=True)

    def synchronize(self) -> None:
        """Wait for the GPU. On a CPU an operation is complete when its call returns."""
        import torch

        if self.loaded().device.type == "cuda":
            torch.cuda.synchronize()

    def fixed_step(self) -> Callable[[], None] | None:
        """Return the step over all positions of the context, as a graph would hold it."""
        import torch

        state = self.prepared()

        def fixed() -> None:
            state.span = state.context
            with torch.inference_mode():
                self.step(state)

        return fixed

    def close(self) -> None:
        """Drop weights and state, and hand the freed pages back to the system."""
        self._decoder = self._state = None
        return_freed_pages()

    def facts(self) -> Mapping[str, Any]:
        """Say what was chosen, and how many bytes weights and state take."""
        return {**self._facts, "state_bytes": self._state.nbytes if self._state else 0}

    def held(self) -> Held:
        """Count the tensors."""
        decoder = self.loaded()
        state = self._state.nbytes if self._state else None
        return Held(weights=decoder.nbytes, twice=decoder.twice_bytes, state=state)

    def loaded(self) -> Decoder:
        """Return the decoder; SessionError once closed."""
        if self._decoder is None:
            raise SessionError("the session is closed")
        return self._decoder

    def prepared(self) -> State:
        """Return the state; SessionError before `prepare`."""
        if self._state is None:
            raise SessionError("the session is not prepared", expected="prepare(batch, context)")
        return self._state


def return_freed_pages() -> None:
    """Give memory that was freed back to the system; glibc keeps it until asked."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # another C library has no malloc_trim
        ctypes.CDLL(None).malloc_trim(0)
