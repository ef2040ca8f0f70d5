"""Eager PyTorch: the reference decoder, operation by operation. Copy this file to start a backend.

A backend answers three things: can it run here, which options it takes, and how to load a model.
What it loads is a session: prepare, prefill, decode, over the decoder in `harness.model.decoder`.
torch is imported inside functions, because `harness list` imports this file and must stay quick.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from harness.contracts import Availability, Backend, BackendOptions, StepSession
from harness.devices import torch_runs_on
from harness.errors import SessionError, UnavailableError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from harness.model import Model, ModelConfig
    from harness.model.decoder import Decoder, State

__all__ = ["EagerBackend", "EagerOptions", "EagerSession"]


class EagerOptions(BackendOptions):
    """What eager takes beside dtype, threads and device."""

    sdpa: Literal["auto", "math", "flash", "efficient", "cudnn"] = "auto"
    """Which implementation of scaled dot-product attention; `auto` leaves PyTorch the choice."""
    linear: Literal["auto", "packed", "plain"] = "auto"
    """Whether matrices are packed for oneDNN (CPU only); `auto` packs where that is possible."""


class EagerBackend(Backend):
    """Runs each operation as it is called."""

    summary = "PyTorch, operation by operation"
    Options = EagerOptions

    def availability(self, device: str) -> Availability:
        """Every CPU will do; a GPU must be there, and a PyTorch that can use it."""
        return torch_runs_on(device)

    def load(self, model: Model, device: str, options: EagerOptions) -> EagerSession:
        """Bring the weights to the device.

        Raises:
            UnavailableError: where the device, `sdpa` or `linear` asked for is not to be had here.
        """
        import torch

        from harness.model.decoder import Decoder

        can = self.availability(device)
        if not can.ok:
            raise UnavailableError(f"eager: {can.reason}", remedy=can.remedy)
        torch.set_num_threads(options.threads)
        dtype = getattr(torch, options.dtype)
        packed, because = _choose_linear(options.linear, dtype, torch.device(device))
        _require_attention(options.sdpa, model.config, dtype, device)
        decoder = Decoder.from_model(model, dtype, device, packed=packed)
        _return_freed_pages()  # of the weights as they were before conversion and packing
        return EagerSession(decoder, options.sdpa, {"linear_because": because})


class EagerSession(StepSession):
    """A decoder and, once prepared, the state it works on."""

    def __init__(self, decoder: Decoder, sdpa: str, facts: Mapping[str, str]) -> None:
        self._decoder: Decoder | None = decoder
        self._state: State | None = None
        self._sdpa = sdpa
        self._facts = {
            "sdpa": sdpa,
            "linear": "packed" if decoder.packed else "plain",
            **facts,
            "weight_bytes": decoder.nbytes,
            "weight_bytes_kept_twice": decoder.twice_bytes,
        }

    def prepare(self, batch: int, context: int) -> None:
        """Allocate the state, touching all of it, so that no first touch is timed."""
        from harness.model.decoder import State

        decoder = self._loaded()
        self._state = None  # released before the next is allocated
        self._state = State.allocate(decoder.config, batch, context, decoder.dtype, decoder.device)

    def reset(self) -> None:
        """Forget every row."""
        self._prepared().reset()

    def prefill(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Process prompts [B, T] of `lengths` [B]; return the first tokens, int64 [B].

        Raises:
            SessionError: where the prompts do not fit what was prepared.
        """
        from harness.model.decoder import prefill

        state = self._prepared()
        if tokens.shape[0] != state.batch or tokens.shape[1] > state.context:
            raise SessionError(
                f"prompts of shape {list(tokens.shape)} do not fit",
                expected=f"{state.batch} rows of at most {state.context} tokens, as prepared",
            )
        with self._running():
            prefill(self._loaded(), state, tokens, lengths)
        return state.tokens

    def decode(self) -> Tensor:
        """Feed each row its last token; return the next, int64 [B].

        Raises:
            SessionError: before a prefill, and where a row would pass the prepared context.
        """
        from harness.model.decoder import step

        state = self._prepared()
        if not 0 < state.span < state.context:  # the longest row's next position, by the host
            raise SessionError(
                f"position {state.span} passes the context of {state.context} positions"
                if state.span
                else "decode before prefill"
            )
        state.span += 1
        with self._running():
            step(self._loaded(), state)
        return state.tokens

    def feed(self, tokens: Tensor) -> None:
        """Replace the tokens that the next `decode` feeds: int64 [B] on the host."""
        self._prepared().tokens.copy_(tokens)

    def logits(self) -> Tensor:
        """Return the logits behind the last tokens: float32 [B, V] on the host, a copy."""
        return self._prepared().logits.to("cpu", copy=True)

    def synchronize(self) -> None:
        """Wait for the GPU. On a CPU an operation is complete when its call returns."""
        import torch

        if self._loaded().device.type == "cuda":
            torch.cuda.synchronize()

    def close(self) -> None:
        """Drop weights and state, and hand the freed pages back to the system."""
        self._decoder = self._state = None
        _return_freed_pages()

    def facts(self) -> Mapping[str, Any]:
        """Say what was chosen, and how many bytes weights and state take."""
        return {**self._facts, "state_bytes": self._state.nbytes if self._state else 0}

    def _loaded(self) -> Decoder:
        if self._decoder is None:
            raise SessionError("the session is closed")
        return self._decoder

    def _prepared(self) -> State:
        if self._state is None:
            raise SessionError("the session is not prepared", expected="prepare(batch, context)")
        return self._state

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        import torch

        with torch.inference_mode(), _attention(self._sdpa):
            yield


def _choose_linear(linear: str, dtype: torch.dtype, device: torch.device) -> tuple[bool, str]:
    """Return whether to pack the matrices, and why."""
    from harness.model.linear import why_not_packed

    if linear == "plain":
        return False, "as asked"
    why_not = why_not_packed(dtype, device)
    if why_not is None:
        return True, "as asked" if linear == "packed" else "oneDNN can pack here"
    if linear == "packed":
        raise UnavailableError(f'eager: linear = "packed": {why_not}', remedy='use "auto"')
    return False, why_not


def _attention(sdpa: str) -> contextlib.AbstractContextManager[None]:
    """Return a context in which PyTorch uses this implementation of attention and no other."""
    if sdpa == "auto":
        return contextlib.nullcontext()
    from torch.nn.attention import SDPBackend, sdpa_kernel

    chosen = {
        "math": SDPBackend.MATH,
        "flash": SDPBackend.FLASH_ATTENTION,
        "efficient": SDPBackend.EFFICIENT_ATTENTION,
        "cudnn": SDPBackend.CUDNN_ATTENTION,
    }
    return sdpa_kernel(chosen[sdpa])


def _require_attention(sdpa: str, config: ModelConfig, dtype: torch.dtype, device: str) -> None:
    """Try both ways in which the decoder attends: an implementation may lack masks or grouping."""
    import torch
    import torch.nn.functional as F  # noqa: N812  (the name the field uses)

    def some(heads: int, length: int) -> Tensor:
        return torch.zeros(1, heads, length, config.head_dim, dtype=dtype, device=device)

    prompt, keys = some(config.heads, 8), some(config.kv_heads, 8)
    grouped = some(config.kv_heads, config.heads // config.kv_heads)
    mask = torch.zeros(1, 1, 1, 8, dtype=dtype, device=device)
    try:
        with torch.inference_mode(), _attention(sdpa), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch's reasons come again in the error
            F.scaled_dot_product_attention(prompt, keys, keys, is_causal=True, enable_gqa=True)
            F.scaled_dot_product_attention(grouped, keys, keys, attn_mask=mask)
    except RuntimeError as error:
        raise UnavailableError(
            f'eager: sdpa = "{sdpa}" cannot run this model in {dtype} on {device}: '
            f"{str(error).splitlines()[0]}",
            remedy='use "auto"',
        ) from error


def _return_freed_pages() -> None:
    """Give memory that was freed back to the system; glibc keeps it until asked."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # another C library has no malloc_trim
        ctypes.CDLL(None).malloc_trim(0)
