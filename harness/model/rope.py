"""Rotary position embedding: a table of angles made once, and the rotation itself.

It knows nothing of layers or caches. Angles are computed in float64, so that the table is as good
at position 100,000 as at 1; only the finished cosines and sines are rounded to the model's
precision. (Positions in bfloat16, which holds no odd number above 256, are the classic mistake.)
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from harness.model.config import ModelConfig, RopeScaling

__all__ = ["frequencies", "rotate_", "rotation_table"]


def frequencies(config: ModelConfig) -> Tensor:
    """Return radians per position of each of the Dh/2 pairs, float64 [Dh/2], fastest first."""
    pair = torch.arange(0, config.head_dim, 2, dtype=torch.float64)
    plain = config.rope_theta ** -(pair / config.head_dim)
    return plain if config.rope_scaling is None else _llama3(plain, config.rope_scaling)


def rotation_table(
    config: ModelConfig, context: int, dtype: torch.dtype, device: torch.device | str
) -> Tensor:
    """Return cosines and signed sines of every position, [context, 2, 1, Dh].

    Pair i of a head is its elements i and i + Dh/2 (Hugging Face's half-split convention), so both
    halves hold the same angles. The sines of the first half are negated, which is what lets
    `rotate_` swap halves instead of negating one.
    """
    position = torch.arange(context, dtype=torch.float64)
    angle = torch.outer(position, frequencies(config))  # [context, Dh/2]
    cos, sin = angle.cos(), angle.sin()
    table = torch.stack((torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)), 1)
    return table[:, :, None].to(device=device, dtype=dtype)


def rotate_(heads: Tensor, cos: Tensor, sin: Tensor) -> None:
    """Rotate queries or keys to their positions, in place.

    (a, b) becomes (a cos − b sin, b cos + a sin) for the two halves a and b of each head.

    Args:
        heads: [..., heads, Dh].
        cos: [..., 1, Dh], from `rotation_table`.
        sin: [..., 1, Dh], signed, from `rotation_table`.
    """
    swapped = heads.roll(heads.shape[-1] // 2, -1)
    heads.mul_(cos).addcmul_(swapped, sin)


def _llama3(plain: Tensor, scaling: RopeScaling) -> Tensor:
    """Stretch slow frequencies by `factor`, keep fast ones, blend between (Llama 3.1)."""
    wavelength = 2 * math.pi / plain  # positions per turn
    turns = scaling.original_context / wavelength  # turns within the context it was trained on
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    keep = ((turns - low) / (high - low)).clamp(0, 1)  # 1: fast, as is; 0: slow, stretched
    return plain * (keep + (1 - keep) / scaling.factor)
