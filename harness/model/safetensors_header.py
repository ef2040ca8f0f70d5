"""What a safetensors file says it holds, checked against how long it is. Reads no weights.

The format: eight bytes of header length, a JSON header, then the data. Shapes for all weights
come from one read, and a file cut short can be told from one that never was safetensors.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ModelError

__all__ = ["StoredTensor", "read_header"]

_LONGEST_HEADER = 100 << 20  # the format's own limit


@dataclass(frozen=True)
class StoredTensor:
    """Where and how a tensor is stored."""

    file: Path
    dtype: str
    """As the format spells it: F32, BF16, …"""
    shape: tuple[int, ...]


def read_header(file: Path) -> dict[str, StoredTensor]:
    """Return the tensors of a file by name.

    Raises:
        ModelError: where it is not a safetensors file, or shorter than its header says.
    """
    try:
        size = file.stat().st_size
        with file.open("rb") as handle:
            length = int.from_bytes(handle.read(8), "little")
            if size < 8 or length > _LONGEST_HEADER:
                raise _not_safetensors(file)
            if length > size - 8:
                raise _cut_short(file, size, f"a header of {length:,} bytes")
            header = json.loads(handle.read(length))
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror}", where=str(file)) from error
    except (ValueError, RecursionError) as error:  # not JSON, not UTF-8, nested without end
        raise _not_safetensors(file) from error
    try:
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        needed = 8 + length + max((int(e["data_offsets"][1]) for e in entries.values()), default=0)
        tensors = {
            name: StoredTensor(file, str(entry["dtype"]), tuple(int(n) for n in entry["shape"]))
            for name, entry in entries.items()
        }
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise _not_safetensors(file) from error
    if size < needed:
        raise _cut_short(file, size, f"{needed:,} bytes by its header")
    return tensors


def _not_safetensors(file: Path) -> ModelError:
    return ModelError("is not a safetensors file", where=str(file))


def _cut_short(file: Path, size: int, expected: str) -> ModelError:
    return ModelError(
        f"is cut short at {size:,} bytes",
        where=str(file),
        expected=expected,
        remedy="download it again",
    )
