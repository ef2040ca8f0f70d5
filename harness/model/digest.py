"""Identity of weights: quick for any size, the same on every machine, nothing cached.

Hashing all of a 16 GB file takes as long as a measurement, and a cache by name and time would be
one more thing to go stale. So files up to 64 MiB are hashed whole; of a larger one its first MiB
(where the formats keep shapes, types and offsets), its size, and 1,008 blocks of 64 KiB at even
distances. Every tensor longer than the distance between two blocks is touched, and training,
merging or requantizing changes nearly every byte of every tensor, so weights that differ get
digests that differ. What is not seen is a patch of a few bytes in a large file, made by hand
between two blocks.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

from harness.model.config import ModelConfig

__all__ = ["digest_of", "digest_of_files"]

_WHOLE_BYTES = 64 << 20
_HEAD_BYTES = 1 << 20
_BLOCK_BYTES = 64 << 10
_BLOCKS = 1008  # with the head: as many bytes as a file hashed whole may have


def digest_of(kind: str, identity: str, config: ModelConfig) -> str:
    """Return `kind-` and 32 hexadecimal digits of what an identity and a configuration say.

    Fields of the configuration left at their default stay out, so that a new one renames nothing.
    """
    told = {
        f.name: getattr(config, f.name)
        for f in fields(config)
        if getattr(config, f.name) != f.default
    }
    hasher = hashlib.blake2b(f"{identity}/{told}".encode(), digest_size=16)
    return f"{kind}-{hasher.hexdigest()}"


def digest_of_files(kind: str, files: Iterable[Path], config: ModelConfig) -> str:
    """Return the digest of files' contents; their names and places do not enter.

    Raises:
        OSError: where a file cannot be read.
    """
    hasher = hashlib.blake2b(digest_size=16)
    for file in files:
        size = file.stat().st_size
        hasher.update(size.to_bytes(8, "little"))
        with file.open("rb", buffering=0) as handle:
            if size <= _WHOLE_BYTES:
                hasher.update(handle.read())
                continue
            hasher.update(handle.read(_HEAD_BYTES))
            room = size - _HEAD_BYTES - _BLOCK_BYTES
            for block in range(_BLOCKS):
                handle.seek(_HEAD_BYTES + room * block // (_BLOCKS - 1))
                hasher.update(handle.read(_BLOCK_BYTES))
    return digest_of(kind, hasher.hexdigest(), config)
