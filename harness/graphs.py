"""What capturing and replaying needs of a device: the seam between a backend and CUDA.

Two kinds exist: CUDA's own, in the backend `cudagraphs`, and the tape in `harness.testing.tape`,
which keeps the same rules on a CPU and makes their breach visible. It must not know what is
captured.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

__all__ = ["Graph", "GraphRuntime"]


class Graph(ABC):
    """Work captured once: the same kernels, on the same addresses, at each replay."""

    @abstractmethod
    def replay(self) -> None:
        """Submit all of it."""

    @abstractmethod
    def release(self) -> None:
        """Give it back; it is never replayed again. Calling it twice is harmless."""


class GraphRuntime(ABC):
    """Captures graphs that share one pool of memory.

    What a graph makes for itself lies in the pool and holds until the next replay of any graph of
    the same pool; what must last is copied into tensors that were there before.
    """

    name: ClassVar[str]
    """Of the kind, for the record."""

    @abstractmethod
    def warm_up(self, work: Callable[[], None]) -> None:
        """Run the work once as it will be captured, aside of what else is submitted."""

    @abstractmethod
    def capture(self, work: Callable[[], None]) -> Graph:
        """Return the work as a graph. What it writes to tensors from before counts as not done.

        Raises:
            RuntimeError: where the device refuses to capture some of it.
        """

    @abstractmethod
    def pool_bytes(self) -> int:
        """What the pool holds of the device's memory."""
