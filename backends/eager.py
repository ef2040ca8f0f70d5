"""Eager PyTorch: the reference decoder, operation by operation. Copy this file to start a backend.

A backend answers three things: can it run here, which options it takes, and how to load a model.
What it loads is a session over the decoder in `harness.model.decoder`: all but how a prompt is read
and a step is made is in `harness.model.session`.
torch is imported inside functions, because `harness list` imports this file and must stay quick.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from harness.contracts import Availability, Backend, BackendOptions
from harness.devices import torch_runs_on
from harness.errors import UnavailableError
from harness.model.session import DecoderSession

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
    linear: Literal["auto", "plain", "packed", "native"] = "auto"
    """How matrices are multiplied on a CPU: as they are, packed for oneDNN (`auto`, where that is
    possible), or by our own AVX-512 product, which is built with g++ at its first use."""
    attention: Literal["auto", "sdpa", "native"] = "auto"
    """How a step looks at its cache on a CPU: by PyTorch's attention, or by our own, which reads no
    further than a row's position. By default ours where `linear` is and `sdpa` asks for nothing."""


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

        from harness.model.attention import choose_attention
        from harness.model.decoder import Decoder
        from harness.model.linear import choose_layout

        can = self.availability(device)
        if not can.ok:
            raise UnavailableError(f"eager: {can.reason}", remedy=can.remedy)
        torch.set_num_threads(options.threads)
        dtype = getattr(torch, options.dtype)
        on = torch.device(device)
        layout, because = choose_layout(options.linear, dtype, on, "eager")
        named = options.attention == "auto" and options.sdpa != "auto"
        asked = "sdpa" if named else options.attention
        attention = choose_attention(asked, layout, dtype, on, "eager")
        _require_attention(options.sdpa, model.config, dtype, device)
        with torch.inference_mode():
            decoder = Decoder.from_model(model, dtype, device, layout=layout, attention=attention)
        return EagerSession(decoder, options.sdpa, {"linear_because": because})


class EagerSession(DecoderSession):
    """Runs the decoder's own functions, under the attention that was asked for."""

    def __init__(self, decoder: Decoder, sdpa: str, facts: Mapping[str, str]) -> None:
        super().__init__(decoder, {"sdpa": sdpa, **facts})
        self._sdpa = sdpa

    def prepare(self, batch: int, context: int) -> None:
        """Allocate as inference tensors: a step keeps no versions of what it writes.

        Those who compile cannot: neither torch.export nor a graph of torch.compile takes them.
        """
        import torch

        with torch.inference_mode():
            super().prepare(batch, context)

    def read_prompts(self, state: State, tokens: Tensor, lengths: Tensor) -> None:
        """Run `prefill` operation by operation."""
        with _attention(self._sdpa):
            super().read_prompts(state, tokens, lengths)

    def step(self, state: State) -> None:
        """Run `step` operation by operation."""
        with _attention(self._sdpa):
            super().step(state)


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
