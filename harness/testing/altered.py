"""A model with some weights or constants exchanged: for faults that look like a real backend's."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.model import Model, ModelConfig, Tokenizer

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["AlteredModel"]


class AlteredModel(Model):
    """Another model's weights, seen through a function.

    Args:
        base: Where weights and tokenizer come from.
        tensor: From a weight's name to the weight; the base's own by default.
        config: Constants instead of the base's.
    """

    def __init__(
        self,
        base: Model,
        *,
        tensor: Callable[[str], Tensor] | None = None,
        config: ModelConfig | None = None,
    ) -> None:
        super().__init__(
            name=base.name,
            config=config or base.config,
            # One of its own: what a backend keeps by content must not serve another alteration.
            digest=f"altered-{uuid.uuid4().hex}:{base.digest}",
            kind=base.kind,
            path=base.path,
            dtype_native=base.dtype_native,
            has_tokenizer=base.has_tokenizer,
        )
        self._base = base
        self._tensor = tensor or base.tensor

    def tensor(self, name: str) -> Tensor:
        """Return one weight, altered."""
        return self._tensor(name)

    def tokenizer(self) -> Tokenizer:
        """Return the base's."""
        return self._base.tokenizer()
