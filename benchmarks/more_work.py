"""A backend that really does more work per token: it reads a share of the weights once more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from backends.eager import EagerBackend, EagerOptions
from harness.contracts import StepSession
from harness.testing.falsified import Wrapped

if TYPE_CHECKING:
    from torch import Tensor

    from harness.model import Model


class MoreWorkOptions(EagerOptions):
    extra: float = Field(default=0.0, ge=0, le=1)
    """Share of the weights' bytes that each decoded token multiplies once more."""


class MoreWorkBackend(EagerBackend):
    name = "more-work"
    summary = "eager, and a share of its work once more"
    Options = MoreWorkOptions

    def load(self, model: Model, device: str, options: Any) -> Any:
        import torch

        own = EagerOptions.model_validate(options.model_dump(exclude={"extra"}))
        session = super().load(model, device, own)
        width, dtype = model.config.hidden_size, getattr(torch, options.dtype)
        size = model.config.weight_bytes(options.dtype) * options.extra
        rows = round(size / (width * dtype.itemsize))
        more = torch.ones(rows, width, dtype=dtype, device=device)
        return MoreWork(session, more, torch.ones(width, 1, dtype=dtype, device=device))


class MoreWork(Wrapped):
    """`more` [rows, hidden] is multiplied by `vector` [hidden, 1] after each decode."""

    def __init__(self, honest: StepSession, more: Tensor, vector: Tensor) -> None:
        super().__init__(honest)
        self._more = more
        self._vector = vector

    def decode(self) -> Tensor:
        import torch

        token = super().decode()
        if len(self._more):
            with torch.inference_mode():
                torch.mm(self._more, self._vector)
        return token
