"""Watches one run of a step: each operation with its place, inputs and the memory it makes.

Two modes, since each sees what the other cannot: below, aten operations; above, the calls a person
wrote (`tolist` and `print` read a CPU tensor without any operation).
"""
# ruff: noqa: SLF001  (a storage's identity and an operation's parts have no public names)

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from harness.testing.capture.hazard import Hazard, Place, user_place
from harness.testing.tape import in_parts, needs_values

__all__ = ["Operation", "Watch"]

_READS_VALUES = {
    "item", "tolist", "numpy", "__array__", "__bool__", "__int__", "__float__", "__index__",
    "__repr__", "__format__", "__contains__",
}  # fmt: skip
_FROM_HOST = torch.ops.aten.lift_fresh.default
_SCALARS: dict[torch.dtype, Any] = {torch.bool: True}


@dataclass(frozen=True)
class Operation:
    """One aten operation as a graph would hold it."""

    name: str
    place: Place | None
    fixed: tuple[str, ...]
    """Arguments that are no tensors, and the shapes and types of those that are."""
    reads: tuple[int | None, ...]
    """Address of each tensor argument; None for what the step itself has made."""


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]  # PyTorch's
    """Records operations and what is wrong with each.

    Args:
        pretended: The tensors are fake, and values that the step asks for are made up.
    """

    def __init__(self, *, pretended: bool = False) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # PyTorch's
        self.operations: list[Operation] = []
        self.hazards: list[Hazard] = []
        self._pretended = pretended
        self._assigns = False
        self._made: dict[int, tuple[StorageWeakRef, Place | None]] = {}

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Watch what is run inside."""
        with self, _Calls(self):
            yield

    def still_alive(self) -> list[Place | None]:
        """Return where memory was made that is alive still, once for each piece."""
        return [
            place
            for storage, place in self._made.values()
            if not storage.expired()  # type: ignore[no-untyped-call]  # PyTorch's
        ]

    @contextlib.contextmanager
    def assigning(self) -> Iterator[None]:
        """Say that what runs inside is `tensor[...] = ...`, which takes a number as it is."""
        self._assigns = True
        try:
            yield
        finally:
            self._assigns = False

    def note(self, kind: str, seen: str) -> None:
        """Write a hazard down at the line that is being run."""
        self.hazards.append(Hazard.at(kind, user_place(), seen))

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
        if func.namespace == "prim":
            return func(*args, **kwargs)
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        self._judge(func, args, kwargs, given)
        self._record(func, args, kwargs, given)
        if self._pretended and func is torch.ops.aten._local_scalar_dense.default:
            return _SCALARS.get(given[0].dtype, 1)
        out = func(*args, **kwargs)
        self._judge_copy(func, given, out)
        before = {storage._cdata for tensor in given if (storage := _storage(tensor)) is not None}
        for tensor in tree_leaves(out):
            storage = _storage(tensor) if isinstance(tensor, Tensor) else None
            if storage is not None and (storage._cdata not in before or func is _FROM_HOST):
                weak = StorageWeakRef(storage)  # type: ignore[no-untyped-call]  # PyTorch's
                self._made.setdefault(storage._cdata, (weak, user_place()))
        return out

    def _judge(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], given: list[Tensor]
    ) -> None:
        kind = needs_values(func, args)
        if kind is not None:
            self.note(kind, str(func))
        if func is _FROM_HOST and not (self._assigns and given[0].dim() == 0):
            self.note("from-host", f"{given[0].dtype} {list(given[0].shape)}")
        if torch.Tag.nondeterministic_seeded in func.tags and _draws(func, args, kwargs):
            self.note("random", str(func))
        if func is torch.ops.aten._pin_memory.default:
            self.note("pinned", str(func))
        devices = {tensor.device.type for tensor in given if not self._is_constant(tensor)}
        if len(devices) > 1:
            if func is torch.ops.aten.copy_.default:
                self.note("copy", f"from {given[1].device} to {given[0].device}")
            else:
                host = next(tensor for tensor in given if tensor.device.type == "cpu")
                self.note("host-tensor", f"{func} takes {host.dtype} {list(host.shape)} on the cpu")

    def _is_constant(self, tensor: Tensor) -> bool:
        """Whether it is a Python number that became a tensor within the step."""
        storage = _storage(tensor)
        made = storage is not None and storage._cdata in self._made
        return made and tensor.dim() == 0 and tensor.device.type == "cpu"

    def _judge_copy(self, func: Any, given: list[Tensor], out: Any) -> None:
        copies = func is torch.ops.aten._to_copy.default
        if copies and out.device.type != given[0].device.type:
            self.note("copy", f"from {given[0].device} to {out.device}")

    def _record(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], given: list[Tensor]
    ) -> None:
        fixed = tuple(
            f"{leaf.dtype} {list(leaf.shape)}" if isinstance(leaf, Tensor) else repr(leaf)
            for leaf in tree_leaves((args, kwargs))
        )
        made = func is _FROM_HOST  # just now, by Python: no operation has told of it
        reads = () if made else tuple(self._address(tensor) for tensor in given)
        self.operations.append(Operation(str(func), user_place(), fixed, reads))

    def _address(self, tensor: Tensor) -> int | None:
        storage = _storage(tensor)
        if storage is None:
            return id(tensor)  # opaque: the object itself is what stays the same
        if storage._cdata in self._made:
            return None
        return 0 if self._pretended else tensor.data_ptr()


class _Calls(TorchFunctionMode):
    """Notes calls that read values, by the name that a person wrote."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name in _READS_VALUES:
            shown = {"__repr__": "print or repr", "__format__": "a formatted string"}.get(name)
            self._watch.note("waits", shown or name)
        if name == "pin_memory":
            self._watch.note("pinned", name)
            return args[0]
        if name == "__setitem__":
            with self._watch.assigning():
                return func(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _storage(tensor: Tensor) -> torch.UntypedStorage | None:
    """Return the tensor's memory; None where it is opaque, as oneDNN's packed weights are."""
    return tensor.untyped_storage() if tensor.layout is torch.strided else None


def _draws(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a seeded operation draws numbers: attention does not without dropout."""
    for position, argument in enumerate(func._schema.arguments):
        if argument.name in ("dropout_p", "p"):
            given = args[position] if position < len(args) else kwargs.get(argument.name, 0.0)
            return bool(given)
    return True
