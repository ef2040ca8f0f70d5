"""What a GGUF file says it holds: metadata and where each tensor lies. Reads no weights.

The format's numbers come from the `gguf` package. Its `GGUFReader` is not used: it makes several
NumPy arrays per string, which for a vocabulary of 49,000 words takes 2 s against 0.04 s, in
every worker; and it follows the lengths of a damaged file without looking where they lead. Here
every length is held against the file before it is used.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFValueType

from harness.errors import ModelError

__all__ = ["GgufHeader", "GgufTensor", "read_gguf"]

_VERSIONS = (2, 3)
_SCALARS = {
    GGUFValueType.UINT8: "<B",
    GGUFValueType.INT8: "<b",
    GGUFValueType.UINT16: "<H",
    GGUFValueType.INT16: "<h",
    GGUFValueType.UINT32: "<I",
    GGUFValueType.INT32: "<i",
    GGUFValueType.FLOAT32: "<f",
    GGUFValueType.BOOL: "<?",
    GGUFValueType.UINT64: "<Q",
    GGUFValueType.INT64: "<q",
    GGUFValueType.FLOAT64: "<d",
}

_WHY = {struct.error: "its header ends too early", UnicodeDecodeError: "a name is not UTF-8 text"}


@dataclass(frozen=True)
class GgufTensor:
    """Where and how a tensor is stored."""

    type: str
    """As ggml calls it: F32, Q4_K, …; `type 99` where the gguf package does not know it."""
    shape: tuple[int, ...]
    """Outermost first, as torch has it: the file lists the innermost first."""
    start: int
    """First byte, from the beginning of the file."""
    nbytes: int
    """Length in bytes; 0 where the type is unknown."""


@dataclass(frozen=True)
class GgufHeader:
    """A GGUF file's metadata and tensors, with the memory-mapped file behind them."""

    metadata: dict[str, Any]
    tensors: dict[str, GgufTensor]
    data: mmap.mmap
    """The whole file, copy-on-write: nothing written to it reaches the disk."""


class _DamagedError(Exception):
    """What the file says about itself cannot be so."""


def read_gguf(file: Path) -> GgufHeader:
    """Read the header of a GGUF file and map the file.

    Raises:
        ModelError: where it is not a GGUF file, is damaged or shorter than it says.
    """
    try:
        with file.open("rb") as handle:
            data = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_COPY)
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror}", where=str(file)) from error
    except ValueError as error:  # an empty file cannot be mapped
        raise ModelError("is not a GGUF file", where=str(file)) from error
    if data[:4] != b"GGUF":
        raise ModelError("is not a GGUF file", where=str(file))
    try:
        metadata, tensors = _parse(_Cursor(data, 4))
    except (_DamagedError, struct.error, UnicodeDecodeError) as error:
        why = str(error) if isinstance(error, _DamagedError) else _WHY[type(error)]
        raise ModelError(
            f"is damaged or cut short: {why}", where=str(file), remedy="download it again"
        ) from error
    end = max((t.start + t.nbytes for t in tensors.values()), default=0)
    if end > len(data):
        raise ModelError(
            f"is cut short at {len(data):,} bytes",
            where=str(file),
            expected=f"{end:,} bytes by its header",
            remedy="download it again",
        )
    return GgufHeader(metadata, tensors, data)


class _Cursor:
    """Reads values one after the other and never past the end."""

    def __init__(self, data: mmap.mmap, at: int) -> None:
        self.data = data
        self.at = at

    def scalar(self, layout: str) -> Any:
        (value,) = struct.unpack_from(layout, self.data, self.at)
        self.at += struct.calcsize(layout)
        return value

    def count(self, smallest: int) -> int:
        """Read a number of things of which each takes at least so many bytes."""
        count: int = self.scalar("<Q")
        if count * smallest > len(self.data) - self.at:
            raise _DamagedError(f"it announces {count:,} entries at byte {self.at:,}")
        return count

    def string(self) -> str:
        length = self.count(1)
        start, self.at = self.at, self.at + length
        return self.data[start : self.at].decode("utf-8")

    def value(self, number: int, depth: int = 0) -> Any:
        if number == GGUFValueType.STRING:
            return self.string()
        if number == GGUFValueType.ARRAY:
            if depth > 2:
                raise _DamagedError("arrays within arrays")
            return self.array(self.scalar("<I"), depth)
        return self.scalar(_layout(number))

    def array(self, number: int, depth: int) -> list[Any]:
        if number in (GGUFValueType.STRING, GGUFValueType.ARRAY):
            read: Callable[[], Any] = (
                self.string
                if number == GGUFValueType.STRING
                else lambda: self.value(number, depth + 1)
            )
            return [read() for _ in range(self.count(8))]
        layout = _layout(number)
        size = struct.calcsize(layout)
        count = self.count(size)
        values = struct.unpack_from(f"<{count}{layout[1]}", self.data, self.at)
        self.at += count * size
        return list(values)


def _layout(number: int) -> str:
    layout = _SCALARS.get(number)  # type: ignore[call-overload]  # an IntEnum's keys are ints
    if layout is None:
        raise _DamagedError(f"a value of type {number}")
    return str(layout)


def _parse(cursor: _Cursor) -> tuple[dict[str, Any], dict[str, GgufTensor]]:
    version = cursor.scalar("<I")
    if version not in _VERSIONS:
        swapped = int.from_bytes(version.to_bytes(4, "little"), "big") in _VERSIONS
        raise _DamagedError(
            "it is big-endian" if swapped else f"GGUF version {version}, not 2 or 3"
        )
    tensor_count, value_count = cursor.count(24), cursor.count(12)
    metadata: dict[str, Any] = {}
    for _ in range(value_count):
        key = cursor.string()
        metadata[key] = cursor.value(cursor.scalar("<I"))
    placed = [_tensor(cursor) for _ in range(tensor_count)]
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment < 1:
        raise _DamagedError(f"alignment {alignment}")
    origin = -(-cursor.at // alignment) * alignment
    tensors = {
        name: GgufTensor(tensor.type, tensor.shape, origin + tensor.start, tensor.nbytes)
        for name, tensor in placed
    }
    return metadata, tensors


def _tensor(cursor: _Cursor) -> tuple[str, GgufTensor]:
    name = cursor.string()
    dimensions = cursor.scalar("<I")
    if dimensions > 8:
        raise _DamagedError(f'tensor "{name}" has {dimensions} dimensions')
    shape = tuple(reversed([cursor.scalar("<Q") for _ in range(dimensions)]))
    number, start = cursor.scalar("<I"), cursor.scalar("<Q")
    try:
        kind = GGMLQuantizationType(number)
    except ValueError:
        return name, GgufTensor(f"type {number}", shape, start, 0)
    block, block_bytes = GGML_QUANT_SIZES[kind]
    if shape and shape[-1] % block:
        raise _DamagedError(f'rows of tensor "{name}" are no whole blocks of {kind.name}')
    return name, GgufTensor(kind.name, shape, start, prod(shape) // block * block_bytes)
