"""A baseline as one file elsewhere: a folder, a branch, an object store; whatever fsspec can open.

The file holds a run's folder and nothing that is executed when it is read.
"""

from __future__ import annotations

import io
import shutil
import tarfile
import tempfile
from pathlib import Path

from harness.errors import InputError, StoreError
from harness.store.baselines import Baseline, Baselines
from harness.store.folder import Store
from harness.store.run import Run

__all__ = ["pull", "push"]

_LEFT_OUT = {"tasks", "logs", "lock"}
_LARGEST = 2**31


def push(store: Store, name: str, url: str) -> int:
    """Write a baseline with its run to `url`, a path or `s3://…`; return its bytes.

    Logs and task files stay behind: they may hold paths and messages that are nobody else's.

    Raises:
        InputError: where there is no such baseline, or `url` cannot be written.
    """
    baselines = Baselines(store)
    baseline, run = baselines.get(name), baselines.run(name)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for path in sorted(run.path.rglob("*")):
            inside = path.relative_to(run.path)
            if path.is_file() and not path.is_symlink() and inside.parts[0] not in _LEFT_OUT:
                archive.add(path, arcname=f"{baseline.run}/{inside.as_posix()}")
    data = packed.getvalue()
    with _opened(url, "wb") as file:
        file.write(data)
    return len(data)


def pull(store: Store, name: str, url: str) -> Baseline:
    """Read what `push` wrote: the run comes into the store, and `name` points to it.

    Raises:
        InputError: where `url` cannot be read, or holds no run.
    """
    with _opened(url, "rb") as file:
        data = file.read(_LARGEST)
    with tempfile.TemporaryDirectory() as folder:
        try:
            with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
                # No links, no devices, no paths that lead elsewhere.
                archive.extractall(folder, filter="data")
        except (tarfile.TarError, OSError, EOFError) as error:
            raise StoreError(f"holds no baseline: {error}", where=url) from error
        found = [path for path in Path(folder).iterdir() if (path / "run.json").is_file()]
        if len(found) != 1:
            raise StoreError("holds no baseline", where=url, expected="what baseline push writes")
        run_id = Run(found[0]).id
        if run_id != found[0].name:
            raise StoreError(f"names its run {found[0].name}, which is {run_id}", where=url)
        home = store.root / "runs" / run_id
        if not home.exists():
            home.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(found[0], home)
    return Baselines(store).set(name, run_id)


def _opened(url: str, mode: str):  # type: ignore[no-untyped-def] # fsspec's own file
    import fsspec

    try:
        return fsspec.open(url, mode, auto_mkdir=True).open()
    except ImportError as error:
        raise InputError(f"{error}", where=url) from error
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be opened: {error}", where=url) from error
