"""Which sensors this machine has, for `harness doctor`: asked in a sampler process, as in a run."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from harness.contracts import Quantity
from harness.environment.health import Finding
from harness.telemetry.beside import Beside
from harness.telemetry.lines import Header, SamplerHeader
from harness.telemetry.process import SamplingTask
from harness.telemetry.simulated import is_simulated

__all__ = ["sensor_findings"]

_TIERS = {"fast": "each tick", "slow": "each second", "boundary": "at phases"}


def sensor_findings(plugins: Sequence[Path]) -> Iterator[Finding]:
    """Yield what the sampler process can do here, and what each sampler reads and lacks.

    Args:
        plugins: Files with samplers of the user's.
    """
    task = SamplingTask(parent_pid=os.getpid(), hz=1, plugin_files=[p.resolve() for p in plugins])
    with tempfile.TemporaryDirectory(prefix="harness-doctor-") as folder:
        beside = Beside(task, Path(folder) / "readings", Path(folder) / "log")
        beside.stop()
    if beside.header is None:
        yield Finding("samplers", "missing", beside.problem or "the sampler process says nothing")
        return
    yield _process(beside.header)
    for sampler in beside.header.samplers:
        yield from _sampler(sampler)


def _process(header: Header) -> Finding:
    if "not permitted" not in header.priority:
        return Finding("sampler process", "ok", header.priority)
    remedy = "ulimit -r 1: readings then come in time beside busy cores"
    return Finding("sampler process", "note", header.priority, remedy)


def _sampler(sampler: SamplerHeader) -> Iterator[Finding]:
    name = f"sampler {sampler.name}"
    if not sampler.ok:
        yield Finding(name, "missing", sampler.reason or "gives no reason", sampler.remedy)
        return
    here = [q for q in sampler.quantities if q.reason is None]
    if is_simulated(sampler.facts):
        yield Finding(name, "note", "SIMULATED: no figure of it is a measurement")
    yield Finding(name, "ok" if here else "missing", f"{len(here)} quantities")
    for tier, when in _TIERS.items():
        if found := [q for q in here if q.tier == tier]:
            yield Finding(f"{sampler.name}, {when}", "ok", _names(found))
    for reason, lacking in _by_reason(sampler.quantities).items():
        yield Finding(f"{sampler.name} lacks", "note", f"{_names(lacking)}: {reason}")


def _names(quantities: Sequence[Quantity]) -> str:
    """Return the quantities' names; devices that have the same ones stand together."""
    by_names: dict[str, list[str]] = {}
    for device in dict.fromkeys(q.device for q in quantities):
        names = ", ".join(q.name for q in quantities if q.device == device)
        by_names.setdefault(names, []).append(device)
    parts = []
    for names, devices in by_names.items():
        where = " ".join(device for device in devices if device)
        parts.append(f"{where}: {names}" if where else names)
    return "; ".join(parts)


def _by_reason(quantities: Iterable[Quantity]) -> dict[str, list[Quantity]]:
    found: dict[str, list[Quantity]] = {}
    for quantity in quantities:
        if quantity.reason is not None:
            found.setdefault(quantity.reason, []).append(quantity)
    return found
