"""Buffers bound to the inputs and outputs of a graph: what changes while tokens are made.

All memory is PyTorch's, allocated once; onnxruntime is given addresses. Past and present cache have
the same ones, as have the tokens that come out of a step and those that go into the next. It must
not know how graphs are made or which options a user gave.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from harness.model.rope import rotation_table

if TYPE_CHECKING:
    from torch import Tensor

    from harness.model import ModelConfig

__all__ = ["Bound", "BoundContrib", "BoundExport"]

_ONNX_TYPES = {  # numbers of onnx.TensorProto.DataType
    torch.float32: 1,
    torch.int32: 6,
    torch.int64: 7,
    torch.float16: 10,
    torch.bfloat16: 16,
}


class Bound(ABC):
    """Sessions of onnxruntime with the buffers they work on, for B rows of C positions.

    Args:
        sessions: By name of the graph.
        config: Of the model.
        batch: B.
        context: C.
        dtype: Of weights and cache.
        device: Where the buffers are.
    """

    cache: Tensor
    tokens: Tensor
    """int64 [B]: each row's last token, written by one step and read by the next."""
    step_binding: Any
    """onnxruntime's view of the buffers of a step."""

    def __init__(
        self,
        sessions: Mapping[str, Any],
        config: ModelConfig,
        batch: int,
        context: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.device = device
        self.tokens = torch.zeros(batch, dtype=torch.int64, device=device)
        self.logits = torch.zeros(batch, config.vocab_size, device=device)
        self._sessions = sessions
        self._rotations = rotation_table(config, context, dtype, device)  # [C, 2, 1, Dh]

    @property
    def nbytes(self) -> int:
        """Bytes of all buffers."""
        return sum(value.nbytes for value in vars(self).values() if isinstance(value, torch.Tensor))

    @abstractmethod
    def prefill(self, tokens: Tensor, lengths: Tensor) -> None:
        """Start every row anew: tokens int64 [B, T], padded, and lengths int64 [B] on the host."""

    @abstractmethod
    def step(self, span: int) -> None:
        """Feed each row its last token, the longest row's at position `span - 1`."""

    def _last_tokens(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Return where in B·T each row's last token stands: int64 [B]."""
        batch, length = tokens.shape
        return (torch.arange(batch) * length + lengths - 1).to(self.device)

    def _bind(self, graph: str, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor]) -> Any:
        """Return a binding of these buffers, which must outlive it."""
        binding = self._sessions[graph].io_binding()
        for name, tensor in inputs.items():
            bind(binding.bind_input, name, tensor)
        for name, tensor in outputs.items():
            bind(binding.bind_output, name, tensor)
        return binding

    def _run(self, graph: str, binding: Any) -> None:
        self._sessions[graph].run_with_iobinding(binding)


class BoundContrib(Bound):
    """One graph for prompts and steps; GroupQueryAttention keeps the cache."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        _, config, batch, context, dtype, device = given
        # [L, 2, B, K, C, Dh]: each layer's keys, and its values, in one piece
        shape = (config.layers, 2, batch, config.kv_heads, context, config.head_dim)
        self.cache = torch.zeros(shape, dtype=dtype, device=device)
        self._last_position = torch.zeros(batch, dtype=torch.int32, device=device)
        self._longest = torch.zeros(1, dtype=torch.int32)  # the operator reads it on the host
        self._rows = torch.arange(batch, device=device)
        half = config.head_dim // 2  # the second half has the sines unsigned
        self._cos, self._sin = self._rotations[:, :, 0, half:].unbind(1)
        self._cos, self._sin = self._cos.contiguous(), self._sin.contiguous()
        self.step_binding = self._bind("both", *self._buffers(self.tokens[:, None], self._rows))

    def prefill(self, tokens: Tensor, lengths: Tensor) -> None:
        """Run the graph on whole prompts."""
        self._last_position.copy_(lengths - 1)
        self._longest.fill_(tokens.shape[1])
        tokens, last_token = tokens.to(self.device), self._last_tokens(tokens, lengths)
        self._run("both", self._bind("both", *self._buffers(tokens, last_token)))

    def step(self, span: int) -> None:
        """Run the graph on one token a row."""
        self._last_position += 1
        self._longest.fill_(span)
        self._run("both", self.step_binding)

    def _buffers(
        self, tokens: Tensor, last_token: Tensor
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        cache = list(self.cache.flatten(0, 1).unbind())
        inputs = {
            "tokens": tokens,
            "last_position": self._last_position,
            "longest": self._longest,
            "last_token": last_token,
            "cos": self._cos,
            "sin": self._sin,
            **numbered("past", cache),
        }
        outputs = {
            "logits": self.logits,
            "next": self.tokens[:, None],
            **numbered("present", cache),
        }
        return inputs, outputs


class BoundExport(Bound):
    """The decoder's own step as a graph, and another for prompts, whose keys are copied once."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        _, config, batch, context, dtype, device = given
        shape = (config.layers, batch, 2, config.kv_heads, context, config.head_dim)
        self.cache = torch.zeros(shape, dtype=dtype, device=device)
        self._positions = torch.zeros(batch, dtype=torch.int64, device=device)
        self._columns = torch.arange(context, device=device)
        kv = 2 * config.kv_heads
        self._first_slots = torch.arange(batch * kv, device=device).view(batch, kv) * context
        slots = list(self.cache.flatten(1, 4).unbind())
        self.step_binding = self._bind(
            "step",
            {
                "tokens": self.tokens,
                "positions": self._positions,
                "columns": self._columns,
                "rotations": self._rotations,
                "first_slots": self._first_slots,
                **numbered("past", slots),
            },
            {
                "logits": self.logits,
                "next": self.tokens,
                **numbered("present", slots),
            },
        )

    def step(self, span: int) -> None:
        """Run the step's graph, which looks at `span` columns of the cache."""
        bind(self.step_binding.bind_input, "columns", self._columns[:span])
        self._run("step", self.step_binding)
        self._positions += 1

    def prefill(self, tokens: Tensor, lengths: Tensor) -> None:
        """Run the prompts' graph, and copy what it wrote into the cache."""
        length = tokens.shape[1]
        shape = (*self.cache.shape[:-2], length, self.cache.shape[-1])
        written = torch.empty(shape, dtype=self.cache.dtype, device=self.device)
        inputs = {
            "tokens": tokens.to(self.device),
            "last_token": self._last_tokens(tokens, lengths),
            "rotations": self._rotations[:length],
        }
        outputs = {
            "logits": self.logits,
            "next": self.tokens,
            **numbered("written", list(written.unbind())),
        }
        self._run("prompt", self._bind("prompt", inputs, outputs))
        self.cache[..., :length, :] = written
        self._positions.copy_(lengths)


def numbered(prefix: str, tensors: Sequence[Tensor]) -> dict[str, Tensor]:
    """Name the cache's tensors as the graphs do."""
    return {f"{prefix}.{index}": tensor for index, tensor in enumerate(tensors)}


def bind(how: Any, name: str, tensor: Tensor) -> None:
    """Give onnxruntime a buffer by its address."""
    assert tensor.is_contiguous(), name
    how(
        name,
        tensor.device.type,
        tensor.device.index or 0,
        _ONNX_TYPES[tensor.dtype],
        list(tensor.shape),
        tensor.data_ptr(),
    )
