"""A case loaded by its backend: the same for those who measure and those who profile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.contracts import Backend, Session
from harness.engine.case import Case
from harness.errors import UnavailableError

if TYPE_CHECKING:
    from harness.model import ModelConfig

__all__ = ["load_case"]


def load_case(case: Case, backend: Backend, options: Any) -> tuple[Session, ModelConfig]:
    """Return the session and the model's shape; the file and its tokenizer are gone by then.

    Raises:
        ModelError: where the model cannot be read.
        UnavailableError: where the backend cannot run here.
    """
    from harness.model import open_model

    can = backend.availability(case.device)
    if not can.ok:
        raise UnavailableError(can.reason or "is not available here", remedy=can.remedy)
    model = open_model(case.model, seed=case.model_seed)
    return backend.load(model, case.device, options), model.config
