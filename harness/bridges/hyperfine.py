"""hyperfine's JSON (`--export-json`): every time is a process of its own, which is what we want."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.bridges.foreign import Benchmark, ForeignRun
from harness.metrics import Metric

__all__ = ["TOOL", "is_ours", "read"]

TOOL = "hyperfine"
_WALL = Metric(
    name="time_s",
    unit="s",
    better="lower",
    primary=True,
    pooled="per process",
    definition="Wall-clock seconds from the start of a command to its end, shell time taken off.",
)
_NO_DATE = "1970-01-01T00:00:00+00:00"
"""The file does not say when it was made."""


def is_ours(data: Mapping[str, Any]) -> bool:
    """Whether a JSON object is one of this tool."""
    results = data.get("results")
    return isinstance(results, list) and all("command" in r and "times" in r for r in results)


def read(data: Mapping[str, Any], text: bytes) -> ForeignRun:
    """Return what a file holds.

    Raises:
        KeyError, TypeError, ValueError: where it is not as the tool writes it.
    """
    results = data["results"]
    count = max((len(r["times"]) for r in results), default=0)
    return ForeignRun(
        tool=TOOL,
        made_at=_NO_DATE,
        environment={},
        processes=[
            [_benchmark(r, i) for r in results if i < len(r["times"])] for i in range(count)
        ],
        text=text,
    )


def _benchmark(result: Mapping[str, Any], number: int) -> Benchmark:
    codes = result.get("exit_codes") or []
    code = codes[number] if number < len(codes) else 0
    return Benchmark(
        name=str(result["command"]),
        metric=_WALL,
        values=[float(result["times"][number])],
        options={"parameters": result.get("parameters")},
        failure=f"the command ended with status {code}" if code else None,
    )
