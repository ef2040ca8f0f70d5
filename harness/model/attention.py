"""How a step's queries look at the cache: by PyTorch's attention, or by our own operator.

With one query per head, PyTorch 2.13 reads a cache on a CPU at a tenth of the bandwidth, and reads
what lies behind each row's position too. docs/performance.md has what ours gains. A prompt's
attention is always PyTorch's.
"""

from __future__ import annotations

from typing import Literal

import torch

from harness.errors import UnavailableError
from harness.model import native
from harness.model.linear import Layout

__all__ = ["Attention", "Choice", "choose_attention"]

Attention = Literal["sdpa", "native"]
"""`scaled_dot_product_attention` under a mask; `harness.model.native.decode_attention`."""
Choice = Literal["auto", "sdpa", "native"]
"""What a user may ask for."""


def choose_attention(
    asked: Choice, layout: Layout, dtype: torch.dtype, device: torch.device, backend: str
) -> Attention:
    """Return which attention a step uses.

    Args:
        asked: What the user wants; `auto` is our own where the products are our own too.
        layout: What `choose_layout` gave.
        dtype: Precision of the cache.
        device: Where it will lie.
        backend: Whose name an error gives.

    Raises:
        UnavailableError: where our own was asked for and cannot be had here.
    """
    if asked == "auto":
        return "native" if layout == "native" else "sdpa"
    why_not = native.why_not_native(dtype, device) if asked == "native" else None
    if why_not:
        raise UnavailableError(f'{backend}: attention = "native": {why_not}', remedy='use "auto"')
    return asked
