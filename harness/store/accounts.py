"""Memory that adds up: what is known of a total, part by part, and a name for what is left.

A part that is not known leaves the remainder unknown: it is never counted as nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.reading import Reading
from harness.shown import quantity
from harness.store.record import CaseRecord

__all__ = ["Account", "Part", "accounts_of", "device_accounts", "host_account"]

_UNKNOWN = Reading.absent("not measured in this run")


@dataclass(frozen=True)
class Part:
    """One part of a total, in bytes; what the configuration says of it where that is known."""

    name: str
    measured: Reading
    computed: Reading | None = None
    computed_by: str = "the configuration"
    """Who says what it should be."""
    note: str = ""

    @property
    def off_by(self) -> float | None:
        """How far the measured is from the computed, as a share of it."""
        if self.computed is None or self.measured.value is None or not self.computed.value:
            return None
        return self.measured.value / self.computed.value - 1


@dataclass(frozen=True)
class Account:
    """A total and its parts, in bytes."""

    name: str
    total: Reading
    parts: tuple[Part, ...]
    rest: str
    """What the remainder is, as far as one can say."""

    @property
    def remainder(self) -> Reading:
        """The total without its parts; absent where one of them is."""
        if self.total.value is None:
            return Reading.absent(f"{self.name}: {self.total.reason}")
        left = self.total.value
        for part in self.parts:
            if part.measured.value is None:
                return Reading.absent(f"{part.name}: {part.measured.reason}")
            left -= part.measured.value
        return Reading(value=left)


def host_account(figures: Mapping[str, Reading]) -> Account:
    """Return where a process's memory is, from what the memory scenario measured.

    Args:
        figures: Its metrics by name, in bytes.
    """

    def read(name: str) -> Reading:
        return figures.get(name, _UNKNOWN)

    mapped = [Part("files", read("mapped_bytes"), note="code of libraries, files still mapped")]
    return Account(
        "peak of the process",
        read("peak_bytes"),
        (
            Part("interpreter and libraries", read("import_bytes")),
            _weights(figures),
            _cache(figures),
            *(mapped if "mapped_bytes" in figures else ()),
            Part("activations", read("activation_bytes")),
        ),
        "kept by the allocator, or loaded between the phases",
    )


def _weights(figures: Mapping[str, Reading]) -> Part:
    """What loading added, beside what the session says it holds, or else the configuration."""
    twice = figures.get("kept_twice_bytes", _UNKNOWN).value
    note = f"{quantity(twice, 'bytes')} kept in two layouts" if twice else ""
    return _beside_held(figures, "weights", "weights_bytes", "held_weights_bytes", note)


def _cache(figures: Mapping[str, Reading]) -> Part:
    return _beside_held(figures, "KV cache", "kv_bytes", "held_state_bytes", "")


def _beside_held(
    figures: Mapping[str, Reading], name: str, measured: str, held: str, note: str
) -> Part:
    found = figures.get(measured, _UNKNOWN)
    if held in figures:
        return Part(name, found, figures[held], "the session", note)
    return Part(name, found, figures.get(f"computed_{measured}", _UNKNOWN))


def device_accounts(
    figures: Mapping[str, Reading],
    allocator: Mapping[str, Reading],
    device: Mapping[str, Reading],
) -> Iterator[Account]:
    """Yield where a device's memory is: the device, this process on it, its allocator.

    Args:
        figures: The memory scenario's metrics by name, in bytes.
        allocator: PyTorch's allocator: allocated_bytes, reserved_bytes, graph_pool_bytes.
        device: The driver's: memory_used_bytes, worker_memory_bytes, other_processes_memory_bytes.
    """

    def of(found: Mapping[str, Reading], name: str) -> Reading:
        return found.get(name, _UNKNOWN)

    yield Account(
        "in use on the device",
        of(device, "memory_used_bytes"),
        (
            Part("this process, as the driver says", of(device, "worker_memory_bytes")),
            Part("other processes", of(device, "other_processes_memory_bytes")),
        ),
        "the driver's own, and processes that it does not list",
    )
    yield Account(
        "this process, as the driver says",
        of(device, "worker_memory_bytes"),
        (Part("held by the allocator", of(allocator, "reserved_bytes")),),
        "CUDA context, kernels and libraries' workspaces",
    )
    pools = [Part("graph pools", of(allocator, "graph_pool_bytes"))]
    yield Account(
        "held by the allocator",
        of(allocator, "reserved_bytes"),
        (
            Part("in tensors", of(allocator, "allocated_bytes")),
            *(pools if "graph_pool_bytes" in allocator else ()),
        ),
        "free blocks that it keeps",
    )
    yield Account(
        "in tensors",
        of(allocator, "allocated_bytes"),
        (
            _weights(figures),
            _cache(figures),
        ),
        "activations, logits and buffers of the step",
    )


def accounts_of(case: CaseRecord) -> Sequence[Account]:
    """Return a case's accounts; none where its scenario did not measure memory."""
    figures = {f.metric: f.reading for f in case.figures}
    if "weights_bytes" not in figures:
        return ()
    if case.backend_options.get("device") != "cuda":
        return (host_account(figures),)
    device = {
        q.quantity: Reading(value=q.highest)
        for phase in case.telemetry
        if phase.phase == "measure"
        for q in phase.quantities
        if q.unit == "bytes" and q.highest is not None and q.device.startswith(("GPU-", "MIG-"))
    }
    return tuple(device_accounts(figures, _allocator(case), device))


def _allocator(case: CaseRecord) -> dict[str, Reading]:
    """The allocator's figures at the end of the measured phase, the most over the rounds."""
    found: dict[str, Reading] = {}
    pools = [r.facts["pool_bytes"] for r in case.rounds if "pool_bytes" in r.facts]
    if pools:
        found["graph_pool_bytes"] = Reading(value=max(map(float, pools)))
    for record in case.rounds:
        for phase in record.phases:
            for name, value in phase.allocator.items() if phase.name == "measure" else ():
                before = found[name].value if name in found else None
                found[name] = Reading(value=max(value, before or 0))
    return found
