"""One side of a comparison: a record, and the samples of each process by case, metric and point.

It must not know whether a run came from our engine or from another tool's file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.metrics import Metric
from harness.stats.centres import median
from harness.store import Run, Samples
from harness.store.record import CaseRecord, RunRecord

__all__ = ["Evidence", "Key", "Series", "centres_of", "evidence_of", "evidence_of_samples"]

Array = NDArray[np.float64]


class Key(NamedTuple):
    """What is compared."""

    case: str
    metric: str
    point: str


@dataclass(frozen=True)
class Series:
    """The measured samples of one metric at one point, process by process."""

    metric: Metric
    rounds: tuple[int, ...]
    processes: tuple[Array, ...]
    """One array per round, in the metric's unit; warm-up left out."""
    iterations: tuple[NDArray[np.int64], ...] = ()
    """The iteration of each sample, likewise."""

    @property
    def exact(self) -> bool:
        """Whether it is observed once rather than sampled."""
        return self.metric.headline == "once"


@dataclass(frozen=True)
class Evidence:
    """What one side of a comparison has to show."""

    record: RunRecord
    series: Mapping[Key, Series] = field(default_factory=dict)

    @property
    def cases(self) -> dict[str, CaseRecord]:
        """Cases by id."""
        return {case.id: case for case in self.record.cases}

    @property
    def revision(self) -> str | None:
        """The revision of the project it was made from, where that is known."""
        git = self.record.environment.get("git")
        found = git.get("revision") if isinstance(git, dict) else None
        return found if isinstance(found, str) else None


def evidence_of(run: Run, record: RunRecord | None = None) -> Evidence:
    """Return what a stored run has to show; cases that are not done show nothing.

    Args:
        run: Finished or not.
        record: Instead of the run's own, where a run that goes on is further than its file.
    """
    record = record or run.record
    done = _done(record)
    frame = run.samples
    frame = frame[frame["phase"] == "measure"]
    metrics = {metric.name: metric for metric in record.metrics}
    found: dict[Key, dict[int, tuple[Array, NDArray[np.int64]]]] = {}
    keys = ["case", "metric", "point", "round"]
    for key, rows in frame.groupby(keys, observed=True, sort=False):
        case, metric, point, number = map(str, key)
        if (case, int(number)) in done and metric in metrics:
            rounds = found.setdefault(Key(case, metric, point), {})
            values = rows["value"].to_numpy(dtype=np.float64)
            rounds[int(number)] = values, rows["iteration"].to_numpy(dtype=np.int64)
    return Evidence(record, {key: _series(metrics[key.metric], r) for key, r in found.items()})


def centres_of(run: Run) -> Evidence:
    """Return what `evidence_of` does, with one number a process: its median.

    Stored runs are held against each other by nothing else, so the verdicts are the same at a tenth
    of the time; tails and the pairs of a duet need all samples. Exact figures keep what was seen,
    and so does a process with a sample that makes it incomparable.
    """
    record, table = run.record, run.table
    done = _done(record)
    metrics = {metric.name: metric for metric in record.metrics}
    names: list[list[str]] = []
    codes: list[NDArray[np.int64]] = []
    for column in ("case", "metric", "point", "phase"):
        encoded = table[column].combine_chunks()
        if not hasattr(encoded, "indices"):
            encoded = encoded.dictionary_encode()
        names.append([str(name) for name in encoded.dictionary.to_pylist()])
        codes.append(encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64))
    rounds = table["round"].to_numpy().astype(np.int64)
    values = table["value"].to_numpy().astype(np.float64)
    measured = codes[3] == (names[3].index("measure") if "measure" in names[3] else -1)
    kept = np.flatnonzero(measured)
    columns = [rounds[kept], *(code[kept] for code in (codes[2], codes[1], codes[0]))]
    order = kept[np.lexsort(columns)]
    if not order.size:
        return Evidence(record)
    keys = np.stack([codes[0], codes[1], codes[2], rounds])[:, order]
    starts = np.flatnonzero(np.r_[True, (keys[:, 1:] != keys[:, :-1]).any(axis=0)])
    found: dict[Key, dict[int, tuple[Array, NDArray[np.int64]]]] = {}
    for start, end in zip(starts, [*starts[1:], order.size], strict=True):
        case, metric, point = (names[n][keys[n, start]] for n in range(3))
        number = int(keys[3, start])
        if (case, number) in done and metric in metrics:
            centre = _centre(values[order[start:end]], metrics[metric])
            process = centre, np.arange(centre.size)
            found.setdefault(Key(case, metric, point), {})[number] = process
    return Evidence(record, {key: _series(metrics[key.metric], r) for key, r in found.items()})


def _centre(samples: Array, metric: Metric) -> Array:
    telling = metric.headline == "once" or not (np.isfinite(samples).all() and samples.min() > 0)
    return samples if telling else np.array([median(samples)])


def evidence_of_samples(
    record: RunRecord, samples: Mapping[tuple[str, int], Iterable[Samples]]
) -> Evidence:
    """Return what samples that lie in no store have to show.

    Args:
        record: Whose they are.
        samples: By case id and round.
    """
    metrics = {metric.name: metric for metric in record.metrics}
    found: dict[Key, dict[int, tuple[Array, NDArray[np.int64]]]] = {}
    done = _done(record)
    for (case, number), rows in samples.items():
        if (case, number) not in done:
            continue
        values: dict[Key, list[float]] = {}
        for row in rows:
            if row.phase == "measure":
                values.setdefault(Key(case, row.metric, row.point), []).extend(row.values)
        for key, own in values.items():
            array = np.asarray(own, dtype=np.float64)
            found.setdefault(key, {})[number] = array, np.arange(array.size)
    return Evidence(record, {key: _series(metrics[key.metric], r) for key, r in found.items()})


def _done(record: RunRecord) -> set[tuple[str, int]]:
    """Return (case id, round) of all that has figures."""
    return {
        (case.id, each.round)
        for case in record.cases
        if case.status == "done"
        for each in case.rounds
        if each.status == "done"
    }


def _series(metric: Metric, rounds: Mapping[int, tuple[Array, NDArray[np.int64]]]) -> Series:
    numbers = sorted(rounds)
    values, iterations = zip(*(rounds[number] for number in numbers), strict=True)
    return Series(metric, tuple(numbers), values, iterations)
