"""A linear layer whose weight may lie in another layout: oneDNN's own, or that of `native`.

Layout matters on a CPU. Measured on 2 cores of an AMD EPYC with PyTorch 2.13: at one row the plain
product runs on one thread and reads 15 GB/s, the packed one 25 to 35; at 8 rows it is three times
as fast; a prompt's products reach 400 GFLOP/s against 150. The price is 20 µs a call against 5.
The packed weight is opaque: it can be multiplied with and nothing else, so a table that is also
indexed (a tied embedding) is kept plain beside it. It must not know which layer it serves.
"""
# ruff: noqa: SLF001  (oneDNN's packed products have no public name)

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F  # noqa: N812  (the name the field uses)
from torch import Tensor, nn

from harness.errors import UnavailableError
from harness.model import native

__all__ = ["Choice", "Layout", "Linear", "choose_layout", "why_not_packed"]

Layout = Literal["plain", "packed", "native"]
"""[out, in]; oneDNN's; panels in reading order, see `harness.model.native`."""
Choice = Literal["auto", "plain", "packed", "native"]
"""What a user may ask for."""

_WHY = {
    "packed": "oneDNN can pack here",
    "native": "this CPU has what our own product needs",
}
# The layout is chosen for this many rows. One made for a single row is slow for more; those made
# for 8 to 128 serve every count of rows alike, one included.
_ROWS_HINT = 16


def why_not_packed(dtype: torch.dtype, device: torch.device) -> str | None:
    """Return why weights cannot be packed for this precision here; None where they can."""
    if device.type != "cpu":
        return f"packing is for the CPU, not {device.type}"
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]  # PyTorch's
        return "this PyTorch is built without oneDNN"
    ops = torch.ops.mkldnn
    if not (hasattr(ops, "_reorder_linear_weight") and hasattr(ops, "_linear_pointwise")):
        return f"PyTorch {torch.__version__} has no packed linear product"
    supported = {
        torch.float32: True,
        torch.bfloat16: ops._is_mkldnn_bf16_supported(),
        torch.float16: ops._is_mkldnn_fp16_supported(),
    }
    if not supported.get(dtype):
        return f"this CPU has no packed product in {str(dtype).removeprefix('torch.')}"
    return None


def choose_layout(
    asked: Choice,
    dtype: torch.dtype,
    device: torch.device,
    backend: str,
    *,
    best: Layout = "packed",
) -> tuple[Layout, str]:
    """Return which layout to use, and why.

    Args:
        asked: What the user wants; `auto` is `best` where that can be had, else plain.
        dtype: Precision of the weights.
        device: Where they will lie.
        backend: Whose name an error gives.
        best: What serves this backend as it is set: compilers cannot look into oneDNN's packed
            weights, and one that was told how to multiply wants them plain.

    Raises:
        UnavailableError: where what was asked for cannot be had here; it names the backend.
    """
    wanted = best if asked == "auto" else asked
    if wanted == "plain":
        return "plain", "as asked"
    why_not = (native.why_not_native if wanted == "native" else why_not_packed)(dtype, device)
    if asked == "auto":
        return ("plain", why_not) if why_not else (wanted, _WHY[wanted])
    if why_not:
        raise UnavailableError(f'{backend}: linear = "{asked}": {why_not}', remedy='use "auto"')
    return asked, "as asked"


class Linear(nn.Module):
    """x @ weight.T + bias, for inference.

    Args:
        weight: [out, in], plain. In another layout a copy is made and this one is not kept.
        bias: [out] or None.
        layout: How to keep the weight; only what `choose_layout` says is possible.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(
        self, weight: Tensor, bias: Tensor | None = None, *, layout: Layout = "plain"
    ) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.layout = layout
        self.weight_bytes = weight.numel() * weight.element_size()
        if bias is None:
            self.bias = None  # plain, since nn.Module finds a buffer only at its second try
        else:
            self.register_buffer("bias", bias, persistent=False)
        if layout == "packed":
            # A plain attribute: an opaque tensor has no storage for nn.Module to move or save.
            self.weight = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS_HINT)
            return
        if layout == "native":
            native.use()
            weight = native.pack(weight)
        self.register_buffer("weight", weight, persistent=False)

    if TYPE_CHECKING:  # nn.Module's own says that a call returns anything

        def __call__(self, x: Tensor) -> Tensor: ...  # noqa: D102

    def forward(self, x: Tensor) -> Tensor:
        """Return [..., out] from x [..., in]."""
        if self.layout == "packed":
            return _packed_linear(x, self.weight, self.bias)
        if self.layout == "native":
            return native.linear(x, self.weight, self.bias, self.out_features)
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Say the shape and the layout."""
        return f"{self.in_features} -> {self.out_features}, {self.layout}"


def _packed_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    # "none": no activation fused behind the product. Adding the residual there ("add") was tried:
    # it costs 2.6 µs a call, a separate addition of one row 1 µs.
    product: Tensor = torch.ops.mkldnn._linear_pointwise.default(x, weight, bias, "none", [], "")
    return product
