"""Does a sampler read what it says it reads? Absent is fine, with a reason; wrong is not."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, get_args

from harness.contracts import Availability, Quantity, Sampler, Tier, Watched
from harness.reading import Reading
from harness.testing.subject import ContractBroken

__all__ = ["SAMPLER_CHECKS"]


@contextmanager
def _opened(sampler: Sampler) -> Iterator[Sequence[Quantity]]:
    """Open a sampler on this process, as its worker, and close it whatever happens."""
    try:
        yield sampler.open(Watched(worker_pid=os.getpid(), harness_pid=os.getpid()))
    finally:
        sampler.close()


def availability_has_a_reason(sampler: Sampler) -> str:
    """Yes, or no with the reason."""
    answer: Any = sampler.availability()
    if not isinstance(answer, Availability):
        raise ContractBroken(f"availability() is {answer!r}, not an Availability")
    if not answer.ok and not answer.reason:
        raise ContractBroken("says no without a reason")
    return "yes" if answer.ok else str(answer.reason)


def quantities_have_units(sampler: Sampler) -> str:
    """At least one quantity, each with a unit and a tier, no two alike."""
    with _opened(sampler) as quantities:
        if not quantities:
            raise ContractBroken("names no quantity")
        for each in quantities:
            if not isinstance(each, Quantity):
                raise ContractBroken(f"open() names {each!r}, not a Quantity")
            if not each.name or not each.unit:
                raise ContractBroken(f'quantity "{each.name}" has the unit "{each.unit}"')
            if each.tier not in get_args(Tier):
                raise ContractBroken(f'quantity "{each.name}" is of the tier "{each.tier}"')
            if each.reason == "":
                raise ContractBroken(f'quantity "{each.name}" is absent without a reason')
        if twice := _first_double([each.key for each in quantities]):
            raise ContractBroken(f"{_named(twice)} is named twice")
        units = dict.fromkeys(f"{each.name} [{each.unit}]" for each in quantities)
    return ", ".join(units)


def readings_match_quantities(sampler: Sampler) -> str:
    """Twice in a row, every quantity of the tier and no other; here or absent with a reason."""
    read = absent = 0
    with _opened(sampler) as quantities:
        for tier in get_args(Tier) * 2:
            here = {q.key for q in quantities if q.tier == tier and q.reason is None}
            readings = sampler.read(tier)
            if set(readings) != here:
                wrong = ", ".join(_named(key) for key in sorted(set(readings) ^ here))
                raise ContractBroken(f"quantities and readings differ in: {wrong}")
            for key, reading in readings.items():
                # A Reading itself refuses NaN, infinity and an absent value without reason.
                if not isinstance(reading, Reading):
                    raise ContractBroken(f"{_named(key)} is {reading!r}, not a Reading")
                absent += reading.value is None
            read += len(readings)
        never = sum(q.reason is not None for q in quantities)
    return f"{read} readings, {absent} absent; {never} quantities are not here"


def counters_only_grow(sampler: Sampler) -> str:
    """What is called a counter does not fall from one reading to the next."""
    with _opened(sampler) as quantities:
        counters = [q for q in quantities if q.kind == "counter" and q.reason is None]
        for tier in dict.fromkeys(q.tier for q in counters):
            before, after = sampler.read(tier), sampler.read(tier)
            for key in (q.key for q in counters if q.tier == tier):
                was, now = before[key].value, after[key].value
                if was is not None and now is not None and now < was:
                    raise ContractBroken(f"{_named(key)} fell from {was:g} to {now:g}")
    return f"{len(counters)} counters"


def goes_on_without_a_worker(sampler: Sampler) -> str:
    """Told that the worker has ended, it still reads; what was the worker's is then absent."""
    with _opened(sampler) as quantities:
        sampler.follow(None)
        for tier in get_args(Tier):
            sampler.read(tier)
        sampler.follow(os.getpid())
        sampler.read("fast")
    sampler.close()
    return f"{len(quantities)} quantities; closing twice is harmless"


def _first_double(keys: Sequence[tuple[str, str]]) -> tuple[str, str] | None:
    return next((key for place, key in enumerate(keys) if key in keys[:place]), None)


def _named(key: tuple[str, str]) -> str:
    return " ".join(filter(None, key))


SAMPLER_CHECKS = {
    "availability has a reason": availability_has_a_reason,
    "quantities have units": quantities_have_units,
    "readings match quantities": readings_match_quantities,
    "counters only grow": counters_only_grow,
    "goes on without a worker": goes_on_without_a_worker,
}
"""The checks for samplers."""
