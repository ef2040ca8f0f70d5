"""What is read together: one file, or one walk, and the quantities that it gives.

A group is opened once, which is the probe: what is not there raises AbsentError with the reason.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.contracts import Quantity, Tier
from harness.environment.facts import AbsentError
from harness.telemetry.host.files import KernelFile
from harness.telemetry.host.tree import Tree

__all__ = ["Context", "Group", "Name", "OneFile", "quantities_of"]

Name = tuple[str, str, Literal["gauge", "counter"]]
"""Name, unit and kind of a quantity."""


@dataclass
class Context:
    """What all groups look at; `worker` is another one after each change of worker."""

    root: Path
    worker: Tree
    harness: Tree


class Group(ABC):
    """Some quantities of one device and tier that come from one place."""

    device: str = ""
    tier: Tier = "slow"
    names: tuple[Name, ...] = ()
    """Of what `read` returns, in order."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.open()

    def open(self) -> None:  # noqa: B027 - some have nothing to open
        """Open what is read; AbsentError where it is not there."""

    @classmethod
    def of(cls, context: Context) -> list[Group]:
        """Return the group, or several where there are several devices."""
        return [cls(context)]

    @abstractmethod
    def read(self) -> Sequence[float]:
        """Return a value for each name, in order; OSError, GoneError where there is none now."""

    def take(self) -> Callable[[], Sequence[float]]:
        """Read now; return what makes values of it, which may be called when there is time."""
        values = self.read()
        return lambda: values

    def close(self) -> None:  # noqa: B027 - nor to close
        """Give back what was opened."""

    def quantities(self) -> list[Quantity]:
        """Name what `read` returns, in order."""
        return quantities_of(self.device, self.tier, self.names)

    @classmethod
    def absent(cls, reason: str) -> list[Quantity]:
        """Name what it would read, were it here."""
        return quantities_of(cls.device, cls.tier, cls.names, reason)


def quantities_of(
    device: str, tier: Tier, names: Sequence[Name], reason: str | None = None
) -> list[Quantity]:
    """Return quantities of one device and tier, absent where a reason is given."""
    return [Quantity(name, unit, device, tier, reason, kind) for name, unit, kind in names]


class OneFile(Group):
    """A group that is one file."""

    def place(self) -> Path:
        """Return where the file is; AbsentError where there can be none."""
        raise NotImplementedError

    def open(self) -> None:
        """Open it and try to make sense of it once."""
        self._file = KernelFile(self.place(), 1 << 16)
        try:
            self.parse(self._file.read())
        except (OSError, ValueError, LookupError) as error:
            self.close()
            raise AbsentError(f"{self.place()}: {error or type(error).__name__}") from error

    @abstractmethod
    def parse(self, written: bytes) -> Sequence[float]:
        """Return the values."""

    def read(self) -> Sequence[float]:
        """Read the file again."""
        return self.parse(self._file.read())

    def close(self) -> None:
        """Close it."""
        self._file.close()
