"""Run folders: what was measured, kept so that no crash loses more than the round in flight.

    Store       a folder of runs: create, resume, find, list
    Run         one run, read: its record, its samples and figures as data frames
    RunWriter   one run, written: a round is on disk before the next one starts
    load_run    a run from a path, an id, or "latest"

Names come lazily: importing this package brings neither pandas nor pyarrow.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.store.folder import BrokenRun as BrokenRun
    from harness.store.folder import Store as Store
    from harness.store.run import Run as Run
    from harness.store.run import load_run as load_run
    from harness.store.samples import Samples as Samples
    from harness.store.telemetry import Telemetry as Telemetry
    from harness.store.writer import RunWriter as RunWriter

_HOME = {
    "BrokenRun": "folder",
    "Run": "run",
    "RunWriter": "writer",
    "Samples": "samples",
    "Store": "folder",
    "Telemetry": "telemetry",
    "load_run": "run",
}

__all__ = ["BrokenRun", "Run", "RunWriter", "Samples", "Store", "Telemetry", "load_run"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'harness.store' has no attribute {name!r}")
    return getattr(import_module(f"harness.store.{_HOME[name]}"), name)
