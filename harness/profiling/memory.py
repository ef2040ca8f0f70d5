"""Who allocates what, phase by phase: tensors from the operators that make them, Python's objects
from tracemalloc.

A dispatch mode notes each storage that an operator takes or returns, with the line that called it,
and asks whether those it knows still live. What an engine allocates for itself is not seen here;
the process as a whole is what the scenario `memory` measures.
"""

# ruff: noqa: SLF001  (a storage's address has no public name)

from __future__ import annotations

import contextlib
import sys
import time
import tracemalloc
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from harness.profiling.lines import users_frame
from harness.profiling.operators import short
from harness.profiling.record import Alive, Held, Memory, Timeline

__all__ = ["Change", "Ledger", "device_history", "timeline"]

_LARGEST = 12
_POINTS = 300
_OWNERS = 5
"""That a timeline tells apart."""
_HISTORY = 100_000
"""Events of a GPU's allocator, the newest: some 50 MB."""
_YOUNG = 64
"""Operators after which a storage that lives is asked after less often."""


class Change(NamedTuple):
    """A storage that came or went."""

    ms: float
    """Since the profiler's start."""
    owner: str
    bytes: int
    """Negative where it went."""


@dataclass
class _Storage:
    alive: StorageWeakRef
    bytes: int
    shape: list[int]
    dtype: str
    place: str
    phase: str
    since: int


@dataclass
class _Phase:
    name: str
    since_ms: float = 0.0
    allocations: int = 0
    tensor_bytes: int = 0
    tensor_peak: int = 0
    python_bytes: int = 0
    python_peak: int = 0


class Ledger(TorchDispatchMode):  # type: ignore[no-untyped-call]  # PyTorch's
    """Keeps book of storages and Python's memory while it is entered, until it is closed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._young: dict[int, _Storage] = {}
        self._old: dict[int, _Storage] = {}
        self._now = 0
        self._peak = 0
        self._at_peak: list[_Storage] = []
        self._seen = 0
        self._phases: list[_Phase] = [_Phase("import")]
        self._changes: list[Change] = []
        self._start_s = 0.0
        self._at_ms = 0.0

    def __enter__(self) -> Self:
        tracemalloc.start()
        self._start_s = time.perf_counter()
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)  # type: ignore[no-untyped-call]
        tracemalloc.stop()

    def begin(self, phase: str) -> None:
        """Note that another phase begins; the same one again goes on."""
        if self._phases[-1].name != phase:
            self._end_phase()
            self._phases.append(_Phase(phase, self._ms()))

    def close(self) -> tuple[Memory, list[str]]:
        """Return what was seen, and notes on what was not."""
        self._end_phase()
        largest = sorted(self._at_peak, key=lambda s: -s.bytes)[:_LARGEST]
        lines = tracemalloc.take_snapshot().statistics("lineno")[:_LARGEST]
        memory = Memory(
            phases=[
                Held(
                    phase=p.name,
                    tensor_bytes=p.tensor_bytes,
                    tensor_peak_bytes=p.tensor_peak,
                    python_bytes=p.python_bytes,
                    python_peak_bytes=p.python_peak,
                    allocations=p.allocations,
                )
                for p in self._phases
                if p.tensor_peak or p.python_peak
            ],
            timeline=timeline(self._changes, [(p.name, p.since_ms) for p in self._phases]),
            largest=[
                Alive(bytes=s.bytes, shape=s.shape, dtype=s.dtype, place=s.place, phase=s.phase)
                for s in largest
            ],
            python=[
                (f"{short(s.traceback[0].filename)}:{s.traceback[0].lineno}", s.size) for s in lines
            ],
        )
        return memory, [] if self._seen else ["memory: no operator of PyTorch ran: tensors unseen"]

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run the operator, then note the storages it touched."""
        del types
        result = func(*args, **(kwargs or {}))
        self._seen += 1
        self._at_ms = self._ms()
        new = [t for t in tree_leaves((args, kwargs, result)) if self._is_new(t)]
        if new:
            place = _place(sys._getframe(1))
            for tensor in new:
                self._add(tensor, place)
        del new
        self._sweep(self._young)
        for key in [k for k, s in self._young.items() if self._seen - s.since > _YOUNG]:
            self._old[key] = self._young.pop(key)
        self._note()
        return result

    def _is_new(self, value: Any) -> bool:
        if not isinstance(value, Tensor) or value.device.type == "meta":
            return False
        try:
            key = value.untyped_storage()._cdata
        except (NotImplementedError, RuntimeError):  # a tensor that has no storage
            return False
        return key not in self._young and key not in self._old

    def _add(self, tensor: Tensor, place: str) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata in self._young:  # twice in one operator
            return
        self._young[storage._cdata] = _Storage(
            StorageWeakRef(storage),  # type: ignore[no-untyped-call]
            storage.nbytes(),
            list(tensor.shape),
            str(tensor.dtype).removeprefix("torch."),
            place,
            self._phases[-1].name,
            self._seen,
        )
        self._change(storage.nbytes(), place)
        self._phases[-1].allocations += 1

    def _sweep(self, some: dict[int, _Storage]) -> None:
        for key in [k for k, s in some.items() if s.alive.expired()]:  # type: ignore[no-untyped-call]
            gone = some.pop(key)
            self._change(-gone.bytes, gone.place)

    def _change(self, size: int, owner: str) -> None:
        self._now += size
        self._changes.append(Change(self._at_ms, owner, size))

    def _ms(self) -> float:
        return (time.perf_counter() - self._start_s) * 1e3

    def _note(self) -> None:
        phase = self._phases[-1]
        if self._now > min(self._peak, phase.tensor_peak):
            self._sweep(self._old)
        if self._now > self._peak:
            self._peak = self._now
            self._at_peak = [*self._old.values(), *self._young.values()]
        phase.tensor_peak = max(phase.tensor_peak, self._now)

    def _end_phase(self) -> None:
        self._at_ms = self._ms()
        self._sweep(self._old)
        self._sweep(self._young)
        phase = self._phases[-1]
        phase.tensor_bytes = self._now
        phase.tensor_peak = max(phase.tensor_peak, self._now)
        now, peak = tracemalloc.get_traced_memory()
        phase.python_bytes, phase.python_peak = now, max(peak, phase.python_peak)
        tracemalloc.reset_peak()


def _place(frame: Any) -> str:
    found = users_frame(frame)
    if found is None:
        return ""
    code = found.f_code
    return f"{short(code.co_filename)}:{found.f_lineno} ({code.co_name})"


@contextlib.contextmanager
def device_history(file: Path) -> Iterator[None]:
    """Have PyTorch record what it allocates on the GPU, with stacks; leave it in a file.

    The file is for pytorch.org/memory_viz.
    """
    torch.cuda.memory._record_memory_history(max_entries=_HISTORY)
    try:
        yield
    finally:
        torch.cuda.memory._dump_snapshot(str(file))  # type: ignore[no-untyped-call]
        torch.cuda.memory._record_memory_history(enabled=None)


def timeline(changes: Sequence[Change], phases: Sequence[tuple[str, float]]) -> Timeline | None:
    """Return who held how much when, thinned to the highest moment of each stretch; None if never.

    Args:
        changes: In the order of their time; those of one time are one moment.
        phases: Name of each phase, and when it began, ms.
    """
    totals: dict[float, int] = {}
    total = 0
    for change in changes:
        total += change.bytes
        totals[change.ms] = total
    moments = list(totals)
    step = -(-len(moments) // _POINTS) or 1
    stretches = (moments[at : at + step] for at in range(0, len(moments), step))
    kept: dict[float, dict[str, int]] = {
        max(stretch, key=totals.__getitem__): {} for stretch in stretches
    }
    if not kept:
        return None
    held: dict[str, int] = defaultdict(int)
    for ms, together in groupby(changes, key=lambda change: change.ms):
        for change in together:
            held[change.owner] += change.bytes
        if ms in kept:
            kept[ms] = dict(held)
    peak = kept[max(kept, key=totals.__getitem__)]
    owners = sorted((o for o in peak if peak[o] > 0), key=lambda o: -peak[o])[:_OWNERS]
    named = [[then.get(owner, 0) for then in kept.values()] for owner in owners]
    others = [totals[ms] - sum(row[n] for row in named) for n, ms in enumerate(kept)]
    return Timeline(ms=list(kept), owners=owners, bytes=[*named, others], phases=list(phases))
