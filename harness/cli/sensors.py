"""Which sensors this machine has, for `harness doctor`: each sampler opened once and asked."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from harness.contracts import Quantity, Sampler, Watched
from harness.environment.health import Finding
from harness.plugins import Broken, load_all
from harness.telemetry.simulated import is_simulated

__all__ = ["sensor_findings"]

_TIERS = {"fast": "each tick", "slow": "each second", "boundary": "at phases"}


def sensor_findings() -> Iterator[Finding]:
    """Yield a finding for each sampler, and for each device of it what is there and what is not."""
    for name, sampler in load_all(Sampler).items():
        if isinstance(sampler, Broken):
            yield Finding(f"sampler {name}", "missing", sampler.reason)
            continue
        try:
            yield from _of(name, sampler)
        except Exception as error:  # noqa: BLE001  # whatever a third party's code raises is its reason
            said = f"does not work: {type(error).__name__}: {error}"
            yield Finding(f"sampler {name}", "missing", said)


def _of(name: str, sampler: Sampler) -> Iterator[Finding]:
    can = sampler.availability()
    if not can.ok:
        yield Finding(f"sampler {name}", "missing", can.reason or "gives no reason", can.remedy)
        return
    try:
        quantities = sampler.open(Watched(worker_pid=None, harness_pid=os.getpid()))
        if is_simulated(sampler.facts()):
            yield Finding(f"sampler {name}", "note", "SIMULATED: no figure of it is a measurement")
        here = [q for q in quantities if q.reason is None]
        if not here:
            yield Finding(f"sampler {name}", "missing", "reads nothing here")
        for tier, when in _TIERS.items():
            if found := [q for q in here if q.tier == tier]:
                yield Finding(f"{name}, {when}", "ok", _names(found))
        for reason, lacking in _by_reason(quantities).items():
            yield Finding(f"{name} lacks", "note", f"{_names(lacking)}: {reason}")
    finally:
        sampler.close()


def _names(quantities: Iterable[Quantity]) -> str:
    """Return the quantities' names, each once, by device where there are several kinds of them."""
    by_names: dict[str, list[str]] = {}
    for device in dict.fromkeys(q.device for q in quantities):
        names = ", ".join(q.name for q in quantities if q.device == device)
        by_names.setdefault(names, []).append(device)
    parts = []
    for names, devices in by_names.items():
        where = " ".join(device for device in devices if device)
        parts.append(f"{where}: {names}" if where else names)
    return "; ".join(parts) or "nothing"


def _by_reason(quantities: Iterable[Quantity]) -> dict[str, list[Quantity]]:
    found: dict[str, list[Quantity]] = {}
    for quantity in quantities:
        if quantity.reason is not None:
            found.setdefault(quantity.reason, []).append(quantity)
    return found
