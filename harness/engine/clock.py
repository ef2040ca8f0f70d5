"""The one clock: monotonic nanoseconds, comparable between the processes of a machine."""

import time

__all__ = ["now_ns", "seconds_since"]

now_ns = time.monotonic_ns


def seconds_since(start_ns: int) -> float:
    """Return the seconds passed since a reading of `now_ns`."""
    return (now_ns() - start_ns) / 1e9
