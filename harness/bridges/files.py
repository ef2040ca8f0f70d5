"""Which tool made a file, by what is in it; and files of one tool as one run."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness.bridges import asv, hyperfine, pytest_benchmark
from harness.bridges.foreign import ForeignRun, SamplesByRound, assembled
from harness.errors import InputError
from harness.store.record import RunRecord

__all__ = ["FORMATS", "read_files"]

Reader = Callable[[dict[str, Any], bytes], ForeignRun]

_TABLE: dict[str, tuple[Callable[[dict[str, Any]], bool], Reader]] = {
    pytest_benchmark.TOOL: (pytest_benchmark.is_ours, pytest_benchmark.read),
    hyperfine.TOOL: (hyperfine.is_ours, hyperfine.read),
    asv.TOOL: (asv.is_ours, asv.read),
}
FORMATS = tuple(_TABLE)
"""Tools whose files are read."""


def read_files(
    paths: Sequence[Path], tool: str | None = None, suite: str | None = None
) -> tuple[RunRecord, SamplesByRound]:
    """Return one run, a round per process, and its samples.

    Args:
        paths: Files of one tool; several are several processes of the same benchmarks.
        tool: Which tool's they are; by default what their contents say.
        suite: Name of the run's suite; by default the tool's.

    Raises:
        InputError: where a file cannot be read, is of another tool, or holds no benchmark.
    """
    files = [_read(path, tool) for path in paths]
    tools = {file.tool for file in files}
    if len(tools) > 1:
        raise InputError(f"files of several tools: {', '.join(sorted(tools))}", expected="one tool")
    if not any(process for file in files for process in file.processes):
        raise InputError("holds no benchmark", where=", ".join(map(str, paths)))
    return assembled(files, suite or files[0].tool)


def _read(path: Path, tool: str | None) -> ForeignRun:
    try:
        text = path.read_bytes()
        data = json.loads(text)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"is not JSON: {error}", where=str(path)) from error
    for name, (is_ours, read) in _TABLE.items():
        if isinstance(data, dict) and tool in (None, name) and is_ours(data):
            try:
                return read(data, text)
            except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
                raise InputError(
                    f"is damaged: {type(error).__name__}: {error}",
                    where=str(path),
                    expected=f"JSON as {name} writes it",
                ) from error
    raise InputError(
        "is no benchmark's result",
        where=str(path),
        expected=f"JSON of {tool or ', '.join(FORMATS)}",
    )
