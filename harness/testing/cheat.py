"""What cheats have in common: an honest backend beneath, and the check that must find them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from harness.contracts import Availability, Backend, BackendOptions, StepSession
from harness.errors import SessionError
from harness.plugins import find
from harness.testing.falsified import Wrapped

if TYPE_CHECKING:
    from harness.model import Model

__all__ = ["Cheat"]


class Cheat(Backend):
    """Loads an honest backend (eager, unless told) and wraps its session or falsifies its model."""

    name: ClassVar[str]
    found_by: ClassVar[str]
    """The check that must find it."""
    session: ClassVar[type[Wrapped]] = Wrapped
    Options = BackendOptions

    def __init__(self, honest: Backend | None = None) -> None:
        self.honest = honest or find(Backend, "eager")

    def availability(self, device: str) -> Availability:
        """As the honest one."""
        return self.honest.availability(device)

    def load(self, model: Model, device: str, options: Any) -> StepSession:
        """Load the honest one and falsify it."""
        own = self.honest.Options.model_validate(options.model_dump())
        session = self.honest.load(self.falsified(model), device, own)
        if not isinstance(session, StepSession):
            raise SessionError(f"{self.name} falsifies step sessions only")
        return self.session(session)

    def falsified(self, model: Model) -> Model:
        """Falsify the weights; by default leave them alone."""
        return model
