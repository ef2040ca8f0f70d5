"""A tensor whose values are computed when they are first looked at: the heart of a lazy cheat."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["Unread"]


class Unread(Tensor):
    """Stands for a result that nobody has asked for yet; any use of it computes it."""

    _compute: Callable[[], Tensor]

    @classmethod
    def of(cls, batch: int, compute: Callable[[], Tensor]) -> Unread:
        """Return a stand-in for int64 [B] that `compute` will give."""
        self = torch.zeros(batch, dtype=torch.int64).as_subclass(cls)
        self._compute = compute
        return self

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Compute what is looked at, then do what was asked."""
        del types
        with torch._C.DisableTorchFunctionSubclass():  # noqa: SLF001 - the documented way
            ready = [a._compute() if isinstance(a, cls) else a for a in args]  # noqa: SLF001
            return func(*ready, **(kwargs or {}))
