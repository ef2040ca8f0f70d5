"""What the looks ask of a session of two rows: two ragged prompts, and tokens to feed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.contracts import StepSession

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["BATCH", "CONTEXT", "PROMPTS", "fed", "start"]

BATCH, CONTEXT = 2, 24
PROMPTS = (
    ([[5, 3, 2], [7, 1, 0]], [3, 2]),
    ([[2, 9, 9, 6], [8, 0, 0, 0]], [4, 1]),
)
"""Tokens of both rows, and their lengths."""


def start(session: StepSession, prompt: int) -> None:
    """Start both rows anew."""
    import torch

    tokens, lengths = PROMPTS[prompt]
    session.reset()
    session.prefill(torch.tensor(tokens), torch.tensor(lengths))


def fed() -> Tensor:
    """Return tokens that a session would hardly choose by itself."""
    import torch

    return torch.tensor([6, 2])
