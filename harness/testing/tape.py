"""Graph capture on a CPU, as strict as CUDA's: a backend's mistakes with graphs show without a GPU.

A tape holds the aten operations of one step and repeats them on the addresses they were recorded
with. Three things make it fail where CUDA would be silently wrong:

- what was there before is held by address alone: once freed, a replay says so;
- what an operation made for itself lies in the pool, and all of the pool is filled with NaN before
  each replay of any graph: who reads a result later than that reads NaN;
- what a capture writes outside of the pool is undone, since a capture computes nothing.

It must not know what it records.
"""
# ruff: noqa: SLF001  (a storage's identity, its weak reference and a schema have no public names)

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from harness.graphs import Graph, GraphRuntime

__all__ = ["TapeRuntime", "in_parts", "needs_values"]

_INTEGER_POISON = -(2**30) + 1
"""As an index it is out of range, as a token it is none."""
_INDEXING = (
    torch.ops.aten.index.Tensor,
    torch.ops.aten.index_put.default,
    torch.ops.aten.index_put_.default,
)


def needs_values(operation: Any, args: tuple[Any, ...]) -> str | None:
    """Say for what an aten operation needs values on the host, which no capture can give it.

    Returns:
        `waits` for a value, `shape` for a shape that depends on data, or None.
    """
    if operation in _INDEXING:
        # Tagged as if their shapes always depended on data; they do where a mask chooses.
        masks = any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1])
        # One value is filled in behind a mask; of more, it must be known how many are wanted.
        chooses = masks and (operation is _INDEXING[0] or args[2].numel() > 1)
        return "shape" if chooses else None
    if torch.Tag.dynamic_output_shape in operation.tags:
        return "shape"
    return "waits" if torch.Tag.data_dependent_output in operation.tags else None


def in_parts(mode: TorchDispatchMode, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
    """Run an operation that is made of others as those others, or return NotImplemented.

    In inference mode they arrive whole, and what they are made of would not be seen.
    """
    if func.namespace != "aten" or not func._can_decompose():
        return NotImplemented
    with mode:
        return func.decompose(*args, **kwargs)


class TapeRuntime(GraphRuntime):
    """Records on a CPU and replays there; one pool of memory for all its graphs."""

    name: ClassVar[str] = "tape"

    def __init__(self, device: torch.device | None = None) -> None:
        if device is not None and device.type != "cpu":
            raise RuntimeError(f"a tape records on a cpu, not on {device.type}")
        self._pool: list[Tensor] = []

    def warm_up(self, work: Callable[[], None]) -> None:
        """Run the work."""
        work()

    def capture(self, work: Callable[[], None]) -> Graph:
        """Record the work; leave everything but the pool as it was.

        Raises:
            RuntimeError: where the work waits for the device.
        """
        recorder = _Recorder(self._pool)
        try:
            with recorder:
                work()
        finally:
            recorder.undo()
        recorder.settle_numbers()
        self.poison()
        return _Tape(recorder.calls, self)

    def pool_bytes(self) -> int:
        """What all captures made for themselves; nothing is reused here, unlike on a GPU."""
        return sum(made.nbytes for made in self._pool)

    def poison(self) -> None:
        """Fill the pool: what a graph does not write anew cannot be read."""
        with torch.inference_mode():
            for made in self._pool:
                if made.is_floating_point():
                    made.fill_(math.nan)
                elif made.dtype == torch.bool:
                    made.fill_(value=True)
                else:
                    made.fill_(max(_INTEGER_POISON, torch.iinfo(made.dtype).min))


@dataclass
class _Address:
    """A tensor from before the capture, as a graph knows it: a place, not an owner."""

    storage: StorageWeakRef
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    number: Tensor | None = None
    """Its value, where it was a Python number that PyTorch wrapped: a kernel's own argument."""

    def tensor(self) -> Tensor:
        if self.number is not None:
            return self.number
        storage = torch.UntypedStorage._new_with_weak_ptr(self.storage.cdata)
        if storage is None:
            raise RuntimeError(
                f"a replay uses memory that was given back: {self.dtype} {list(self.shape)}"
            )
        empty = torch.empty(0, dtype=self.dtype)
        return empty.set_(storage, self.offset, self.shape, self.stride)


@dataclass(frozen=True)
class _Call:
    operation: Any
    args: Any
    kwargs: Any
    made: list[Tensor | None]
    """For each tensor it returned: where in the pool, or None where it is part of another."""


class _Tape(Graph):
    def __init__(self, calls: list[_Call], runtime: TapeRuntime) -> None:
        self._calls: list[_Call] | None = calls
        self._runtime = runtime

    def replay(self) -> None:
        if self._calls is None:
            raise RuntimeError("a graph was replayed after its release")
        self._runtime.poison()
        with torch.inference_mode():
            for call in self._calls:
                args = tree_map_only(_Address, _Address.tensor, call.args)
                kwargs = tree_map_only(_Address, _Address.tensor, call.kwargs)
                out = _tensors(call.operation(*args, **kwargs))
                for place, value in zip(call.made, out, strict=True):
                    if place is not None:
                        place.copy_(value)

    def release(self) -> None:
        self._calls = None


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]  # PyTorch's
    """Runs what is called and writes it down."""

    def __init__(self, pool: list[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # PyTorch's
        self.calls: list[_Call] = []
        self._pool = pool
        self._made = {made.untyped_storage()._cdata for made in pool}
        self._before: dict[int, StorageWeakRef] = {}
        self._numbers: list[_Address] = []
        self._overwritten: dict[int, torch.UntypedStorage] = {}

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        parts = in_parts(self, func, args, kwargs)
        if parts is not NotImplemented:
            return parts
        if needs_values(func, args):
            raise RuntimeError(f"{func} is not permitted while capturing: it waits for the device")
        recorded_args = tree_map_only(Tensor, self._recorded, args)
        recorded_kwargs = tree_map_only(Tensor, self._recorded, kwargs)
        self._keep_overwritten(func, args, kwargs)
        out = func(*args, **kwargs)
        made = [self._adopt(tensor) for tensor in _tensors(out)]
        if not _only_views(func, made):
            self.calls.append(_Call(func, recorded_args, recorded_kwargs, made))
        return out

    def settle_numbers(self) -> None:
        """Tell numbers that PyTorch wrapped, gone by now, from tensors of one number."""
        for address in self._numbers:
            if not address.storage.expired():  # type: ignore[no-untyped-call]  # PyTorch's
                address.number = None

    def undo(self) -> None:
        """Put back what the recorded work wrote to memory from before."""
        for key, content in self._overwritten.items():
            storage = torch.UntypedStorage._new_with_weak_ptr(self._before[key].cdata)
            if storage is not None:
                storage.copy_(content)

    def _recorded(self, tensor: Tensor) -> Tensor | _Address:
        if tensor.layout is not torch.strided:
            return tensor  # oneDNN's packed weights are opaque: no storage to point to
        storage = tensor.untyped_storage()
        if storage._cdata in self._made:
            return tensor.detach()
        weak = StorageWeakRef(storage)  # type: ignore[no-untyped-call]  # PyTorch's
        known = self._before.setdefault(storage._cdata, weak)
        shape, stride = tuple(tensor.shape), tuple(tensor.stride())
        address = _Address(known, int(tensor.storage_offset()), shape, stride, tensor.dtype)
        if tensor.dim() == 0:
            address.number = tensor.detach().clone()
            self._numbers.append(address)
        return address

    def _adopt(self, tensor: Tensor) -> Tensor | None:
        """Return the tensor where it is new memory, which is the pool's from now on."""
        if tensor.layout is not torch.strided:
            return None
        storage = tensor.untyped_storage()
        if storage._cdata in self._made or storage._cdata in self._before:
            return None
        self._made.add(storage._cdata)
        self._pool.append(tensor.detach())
        return self._pool[-1]

    def _keep_overwritten(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for position, argument in enumerate(func._schema.arguments):
            if argument.alias_info is None or not argument.alias_info.is_write:
                continue
            given = args[position] if position < len(args) else kwargs.get(argument.name)
            for tensor in _tensors(given):
                storage = tensor.untyped_storage()
                if storage._cdata in self._before and storage._cdata not in self._overwritten:
                    kept = storage.clone()  # type: ignore[no-untyped-call]  # PyTorch's
                    self._overwritten[storage._cdata] = kept


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _only_views(func: Any, made: list[Tensor | None]) -> bool:
    """Whether all it did was to look at memory in another way, which an address holds already."""
    return not func._schema.is_mutable and all(place is None for place in made)
