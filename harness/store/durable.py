"""Files that are there whole or not at all, whatever dies at whatever moment.

Written aside in the same folder, flushed to the disk, renamed into place, the folder flushed.
It must not know what the bytes mean.
"""

import contextlib
import errno
import os
import secrets
from pathlib import Path

from harness.errors import StoreError

__all__ = ["remove", "sweep", "sync_folder", "unwritable", "write_durably"]

_ASIDE = ".aside"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def write_durably(path: Path, data: bytes) -> None:
    """Put `data` at `path`; when this returns, it is on the disk under that name.

    Raises:
        StoreError: where it cannot be written; what was at `path` before is then still there.
    """
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_ASIDE}")
    try:
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)  # noqa: PTH105 - the one call whose atomicity we rely on, by its name
        sync_folder(path.parent)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        # After the rename there is nothing aside; before it, whatever interrupted us, there may be.
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Flush a folder's own entries, so that a rename in it survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file that may be gone already.

    Raises:
        StoreError: where it cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(path, error) from error


def sweep(folder: Path) -> None:
    """Remove what a killed writer left aside in `folder`. Only for who holds the run's lock."""
    for leftover in folder.glob(f".*{_ASIDE}"):
        remove(leftover)


def unwritable(path: Path, error: OSError) -> StoreError:
    """Return the one line for a file or folder that cannot be written."""
    remedy = "choose another place with --store DIR or HARNESS_STORE"
    if error.errno in _FULL:
        remedy = "what is finished is kept: free space, then harness run --resume, or " + remedy
    why = error.strerror or type(error).__name__
    return StoreError(f"cannot be written: {why}", where=str(path), remedy=remedy)
