"""Where plugins keep what can be made again: exported graphs, compiled code, packages.

The engine says where, through `HARNESS_CACHE`, so that a run which must start cold can have a
folder of its own. It must not know what is kept.
"""

import os
import re
from pathlib import Path

from harness.errors import StoreError

__all__ = ["CACHE_VARIABLE", "cache_folder"]

CACHE_VARIABLE = "HARNESS_CACHE"


def cache_folder(*parts: str) -> Path:
    """Return a folder below the cache, made if it was not there.

    Args:
        parts: Names of the folders on the way: the plugin's, then a digest of the content. What a
            file system might not take in them is replaced.

    Raises:
        StoreError: where it cannot be made.
    """
    root = Path(os.environ.get(CACHE_VARIABLE) or ".harness/cache").resolve()
    folder = root.joinpath(*(re.sub(r"[^A-Za-z0-9_.-]", "-", p).lstrip(".") or "-" for p in parts))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot be written: {error.strerror}", where=str(folder)) from error
    return folder
