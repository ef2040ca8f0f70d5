"""Baselines: names that point to runs, one small file each: a folder or a branch can keep them.

ROOT/baselines/NAME.json

A baseline keeps its run: a run that is named stays where it is, and nothing is copied.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.errors import InputError, StoreError, did_you_mean
from harness.store.durable import remove, unwritable, write_durably
from harness.store.folder import Store
from harness.store.run import Run
from harness.store.simulated import refuse_simulated

__all__ = ["Baseline", "Baselines"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_RESERVED = re.compile(r"latest(~\d+)?")


class Baseline(BaseModel):
    """A name for a run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    run: str
    """Id of the run."""
    set_at: str
    """UTC, ISO 8601."""
    earlier: list[str] = []
    """Ids of the runs that it pointed to before, newest first: the history of its machine."""


class Baselines:
    """The baselines of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._folder = store.root / "baselines"

    def set(self, name: str, reference: str) -> Baseline:
        """Point a name to a run, and remember which run it pointed to before.

        Raises:
            InputError: where the name is no name, there is no such run, or it was simulated.
        """
        if not _NAME.fullmatch(name) or _RESERVED.fullmatch(name):
            raise InputError(
                f'"{name}" cannot name a baseline',
                expected="letters, digits, dots, dashes; not latest, which is a run",
            )
        run = self._store.find(reference)
        refuse_simulated(run.record, "a baseline")
        if run.path.parent.resolve() != (self._store.root / "runs").resolve():
            raise StoreError(
                "lies outside of the store",
                where=str(run.path),
                remedy=f"copy it to {self._store.root / 'runs'} or name its store with --store",
            )
        before = next((b for b in self.all() if b.name == name), None)
        earlier = [before.run, *before.earlier] if before else []
        baseline = Baseline(
            name=name,
            run=run.id,
            set_at=datetime.now(UTC).isoformat(timespec="seconds"),
            earlier=[e for e in earlier if e != run.id],
        )
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(self._folder, error) from error
        write_durably(self._path(name), baseline.model_dump_json(indent=1).encode() + b"\n")
        return baseline

    def all(self) -> list[Baseline]:
        """Return every baseline, by name.

        Raises:
            StoreError: where one is damaged.
        """
        return [self._read(path) for path in sorted(self._folder.glob("*.json"))]

    def get(self, name: str) -> Baseline:
        """Return one baseline.

        Raises:
            StoreError: where there is none of that name, or it is damaged.
        """
        path = self._path(name)
        if not _NAME.fullmatch(name) or not path.exists():
            known = [p.stem for p in sorted(self._folder.glob("*.json"))]
            raise StoreError(
                f'no baseline is called "{name}"',
                where=str(self._store.root),
                expected=f"one of {', '.join(known)}" if known else None,
                remedy=f"{did_you_mean(name, known)}harness baseline set {name} latest makes it",
            )
        return self._read(path)

    def run(self, name: str) -> Run:
        """Return the run a name points to; a name that is none may be a run's own.

        Raises:
            StoreError: where there is neither, or the run is gone.
        """
        if not self.known(name):
            try:
                return self._store.find(name)
            except StoreError:
                return self._store.find(self.get(name).run)  # says which baselines there are
        return self._store.find(self.get(name).run)

    def known(self, name: str) -> bool:
        """Whether a baseline has that name."""
        return bool(_NAME.fullmatch(name)) and self._path(name).exists()

    def remove(self, name: str) -> Baseline:
        """Forget a name; its run stays.

        Raises:
            StoreError: where there is none of that name.
        """
        baseline = self.get(name)
        remove(self._path(name))
        return baseline

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _read(self, path: Path) -> Baseline:
        try:
            return Baseline.model_validate(json.loads(path.read_bytes()))
        except (OSError, ValueError, ValidationError) as error:
            why = str(error).splitlines()[0]
            raise StoreError(
                f"is not a baseline: {why}", where=str(path), remedy="set it again"
            ) from error
