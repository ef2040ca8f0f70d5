"""The store: a folder of runs, found by id, by `latest`, or by path.

ROOT/runs/ID/{run.json, samples.parquet, logs/, parts/, lock}
ROOT/cache/
"""

from __future__ import annotations

import os
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from harness.errors import StoreError, did_you_mean
from harness.store.durable import unwritable
from harness.store.record import RunRecord
from harness.store.run import Run
from harness.store.writer import RunWriter

__all__ = ["DEFAULT_ROOT", "BrokenRun", "Resumed", "Store"]

DEFAULT_ROOT = ".harness"
_LATEST = re.compile(r"latest(?:~(\d{1,9}))?")


@dataclass(frozen=True)
class BrokenRun:
    """A folder among the runs that cannot be read as one."""

    path: Path
    reason: str

    @property
    def id(self) -> str:
        """Name of its folder."""
        return self.path.name


class Resumed(NamedTuple):
    """A run taken up again."""

    record: RunRecord
    finished: set[tuple[str, int]]
    """(case id, round) of every round that is on the disk, whatever its status."""
    writer: RunWriter


class Store:
    """A folder of runs; by default `HARNESS_STORE`, else `.harness` in the working folder."""

    def __init__(self, root: str | Path | None = None) -> None:
        self.root = Path(root or os.environ.get("HARNESS_STORE") or DEFAULT_ROOT)

    @property
    def cache(self) -> Path:
        """Where what can be computed again is kept; may not exist yet."""
        return self.root / "cache"

    @staticmethod
    def new_id(suite: str) -> str:
        """Return an id for a new run: sortable by time, unique, fit for a folder's name."""
        name = re.sub(r"[^A-Za-z0-9_.]+", "-", suite).strip("-.")[:40] or "suite"
        return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{name}-{secrets.token_hex(2)}"

    def create(self, record: RunRecord) -> RunWriter:
        """Make the folder of a new run; `record.id` is one from `new_id`.

        Raises:
            StoreError: where the store cannot be written.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            ignore = self.root / ".gitignore"
            if not ignore.exists():
                ignore.write_text("# made by inference-harness\n*\n")
        except OSError as error:
            raise unwritable(self.root, error) from error
        return RunWriter.create(self.root / "runs", record)

    def resume(self, reference: str) -> Resumed:
        """Take up a run that was interrupted or killed; it is marked as resumed.

        One that has finished is returned as it is: what is left of it can only be profiles.

        Raises:
            StoreError: where there is no such run, another process is writing it, or it is damaged.
        """
        writer = RunWriter.reopen(self.find(reference).path)
        try:
            record = Run(writer.path).record
            if record.status != "finished":
                record.resumed_at.append(datetime.now(UTC).isoformat(timespec="seconds"))
                record.status = "running"
                record.finished_at = None
                writer.update(record)
        except BaseException:
            writer.close()
            raise
        return Resumed(record, {(c.id, r.round) for c in record.cases for r in c.rounds}, writer)

    def ids(self) -> list[str]:
        """Return the names of all run folders, newest first, without opening any."""
        try:
            entries = [e.name for e in os.scandir(self.root / "runs") if e.is_dir()]
        except OSError:
            return []
        return sorted((name for name in entries if not name.startswith(".")), reverse=True)

    def runs(self) -> list[Run | BrokenRun]:
        """Return every run, newest first; a damaged one is named with its reason."""
        return [self._open(name) for name in self.ids()]

    def find(self, reference: str) -> Run:
        """Return a run by id, unique beginning of an id, `latest`, `latest~1`, or path.

        Raises:
            StoreError: where there is none or several, it is damaged, or a newer harness wrote it.
        """
        if latest := _LATEST.fullmatch(reference):
            return self._latest(int(latest[1] or 0))
        ids = self.ids()
        if reference in ids:
            return Run(self.root / "runs" / reference)
        path = Path(reference)
        if path.name == "run.json":
            path = path.parent
        if os.sep in reference or (path / "run.json").exists():
            return Run(path)
        found = [name for name in ids if reference and name.startswith(reference)]
        if len(found) == 1:
            return Run(self.root / "runs" / found[0])
        if found:
            raise StoreError(f'"{reference}" begins {len(found)} runs', expected=_some(found))
        raise StoreError(
            f'no run is called "{reference}"',
            where=str(self.root),
            expected=_some(["latest", *ids]) if ids else None,
            remedy=f"{did_you_mean(reference, ids)}harness list runs shows them",
        )

    def _latest(self, back: int) -> Run:
        sound = (run for name in self.ids() if isinstance(run := self._open(name), Run))
        seen = 0
        for run in sound:
            if seen == back:
                return run
            seen += 1
        what = f"holds {seen} run{'' if seen == 1 else 's'}, none {back} before the latest"
        raise StoreError(
            what if seen else "holds no run",
            where=str(self.root),
            remedy="harness run makes one; --store DIR or HARNESS_STORE names another store",
        )

    def _open(self, name: str) -> Run | BrokenRun:
        path = self.root / "runs" / name
        try:
            return Run(path)
        except StoreError as error:
            return BrokenRun(path, str(error))


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:4])
    return f"one of {shown}{', …' if len(names) > 4 else ''}"
