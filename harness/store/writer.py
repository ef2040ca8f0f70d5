"""Writing a run: whatever is killed whenever, a round that was added is kept, and the run loads.

    create    run.json (status running) in a new folder, which appears under its name all at once
    add       one part per round, on the disk before `add_round` returns
    finish    the Parquet files, then run.json, then the parts go: each step can be repeated

The writer holds a lock on the run while it is open; the lock goes with the process.
"""

from __future__ import annotations

import fcntl
import shutil
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from harness.errors import StoreError
from harness.store.durable import remove, sweep, sync_folder, unwritable, write_durably
from harness.store.migrate import dump_record
from harness.store.record import RoundRecord, RunRecord
from harness.store.run import Run, read_parts, stem
from harness.store.samples import (
    Part,
    Samples,
    dump_part,
    merged_table,
    parquet_bytes,
    read_table,
)
from harness.store.telemetry import Telemetry, merged_telemetry, read_telemetry

__all__ = ["RunWriter", "is_live"]


class RunWriter:
    """The one writer of a run. Use it as a context manager, or close it.

    Attributes:
        path: The run's folder.
    """

    def __init__(self, path: Path, lock: IO[bytes]) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def create(cls, runs: Path, record: RunRecord) -> RunWriter:
        """Make the folder of a new run below `runs`.

        Raises:
            StoreError: where it cannot be written or a run of that id is there.
        """
        path = runs / record.id
        aside = runs / f".{record.id}.new"
        if path.exists():
            raise StoreError("is there already", where=str(path))
        with ExitStack() as undo:
            try:
                aside.mkdir(parents=True)
                undo.callback(shutil.rmtree, aside, ignore_errors=True)
                lock = undo.enter_context(_locked(aside))
                for name in ("logs", "parts"):
                    (aside / name).mkdir()
                write_durably(aside / "run.json", dump_record(record))
                aside.rename(path)
                sync_folder(runs)
            except OSError as error:
                raise unwritable(path, error) from error
            except StoreError as error:
                raise StoreError(error.what, where=str(path), remedy=error.remedy) from error
            undo.pop_all()
        return cls(path, lock)

    @classmethod
    def reopen(cls, path: Path) -> RunWriter:
        """Take up the run in `path` again; what a killed writer left half done is put right.

        Raises:
            StoreError: where another process is writing it, or it cannot be read or written.
        """
        try:
            writer = cls(path, _locked(path))
        except OSError as error:
            raise unwritable(path, error) from error
        try:
            for folder in (path, path / "parts"):
                sweep(folder)
            writer.finish(Run(path).record)
        except BaseException:
            writer.close()
            raise
        return writer

    def log_path(self, case_id: str, round_number: int) -> Path:
        """Return where the log of a round belongs; its folder exists."""
        return self.path / "logs" / f"{stem(case_id, round_number)}.log"

    def add_round(
        self,
        case_id: str,
        record: RoundRecord,
        samples: Iterable[Samples],
        telemetry: Telemetry | None = None,
    ) -> None:
        """Keep one round: when this returns, it is on the disk.

        Adding the same case and round again replaces the earlier one.

        Raises:
            StoreError: where it cannot be written; all that was added before is kept.
        """
        part = self.path / "parts" / f"{stem(case_id, record.round)}.npz"
        try:
            part.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise unwritable(part.parent, error) from error
        write_durably(part, dump_part(case_id, record, samples, telemetry))

    def update(self, record: RunRecord) -> None:
        """Rewrite run.json, say with a new status. Rounds in parts need not be in `record`.

        Raises:
            StoreError: where it cannot be written; the one before is then still there.
        """
        write_durably(self.path / "run.json", dump_record(record))

    def finish(self, record: RunRecord) -> RunRecord:
        """Merge what was added into the Parquet files and run.json; return the record as written.

        Rounds that were added and that `record` lacks are put into it. It may be called again,
        also after more rounds. Killed at any moment, the run loads, nothing missing or double.

        Raises:
            StoreError: where it cannot be written; the parts are then still there.
        """
        parts, _ = read_parts(self.path)
        record = _with_rounds(record, self.path)
        samples = self.path / "samples.parquet"
        if parts or not samples.exists():
            earlier = read_table(samples) if samples.exists() else None
            write_durably(samples, parquet_bytes(merged_table(parts, earlier)))
        self._merge_telemetry(parts)
        self.update(record)
        for part in parts:
            remove(part.path)
        return record

    def _merge_telemetry(self, parts: Sequence[Part]) -> None:
        """Merge readings into telemetry.parquet, which is there only where something was read."""
        found = {part.key: part.telemetry_table() for part in parts}
        tables = {key: table for key, table in found.items() if table is not None}
        if tables:
            path = self.path / "telemetry.parquet"
            earlier = read_telemetry(path) if path.exists() else None
            write_durably(path, parquet_bytes(merged_telemetry(tables, earlier)))

    def close(self) -> None:
        """Let others write the run. Calling it twice is harmless."""
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def is_live(path: Path) -> bool:
    """Say whether a process is writing the run in `path` now."""
    try:
        with (path / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _locked(path: Path) -> IO[bytes]:
    """Lock a run; the lock is on the open file, so it moves with a rename and dies with us."""
    lock = (path / "lock").open("ab")
    for patience_s in (0.02, 0.05, 0.1, None):  # `is_live` holds it for an instant
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if patience_s is not None:
                time.sleep(patience_s)
        else:
            return lock
    lock.close()
    raise StoreError(
        "is being written by another harness process",
        where=str(path),
        remedy="wait until it is done, or end that process",
    )


def _with_rounds(record: RunRecord, path: Path) -> RunRecord:
    """Add the rounds that are on the disk and that `record` lacks; of two, the later one counts."""
    stored = {case.id: case.rounds for case in Run(path).record.cases}
    record = record.model_copy(deep=True)
    for case in record.cases:
        rounds = {r.round: r for r in [*stored.get(case.id, []), *case.rounds]}
        case.rounds = [rounds[number] for number in sorted(rounds)]
    return record
