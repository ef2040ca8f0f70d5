import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.store import Samples, Store
from harness.store.record import CaseRecord, RunRecord
from harness.testing.runs import example_record, scaled_record

Add = Callable[..., RunRecord]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def add(store: Store) -> Add:
    """Put a run of a day into the store: `add(1, factor=1.1, revision="a" * 40)`."""

    def put(
        day: int,
        *,
        factor: float = 1.0,
        record: RunRecord | None = None,
        revision: str | None = None,
    ) -> RunRecord:
        record = scaled_record(record or example_record(), factor)
        record.id = f"202611{day:02}-041502-default-3f2a"
        record.created_at = f"2026-11-{day:02}T04:15:02+00:00"
        if revision:
            git = {"revision": revision, "dirty": False}
            record.environment = {**record.environment, "git": git}
        with store.create(record) as writer:
            for case in record.cases:
                for each in case.rounds:
                    if each.status == "done":
                        writer.add_round(case.id, each, _samples(case, record, day, each.round))
            writer.finish(record)
        return record

    return put


def _samples(case: CaseRecord, record: RunRecord, day: int, number: int) -> Iterator[Samples]:
    """What a worker would have seen around the case's own figures; the same for the same day."""
    headlines = {metric.name: metric.headline for metric in record.metrics}
    for figure in case.figures:
        if figure.statistic == headlines[figure.metric] and figure.reading.value is not None:
            noise = random.Random(f"{case.id} {figure.metric} {figure.point} {day} {number}")
            exact = figure.statistic == "once"
            values = [
                figure.reading.value * (1 if exact else math.exp(noise.gauss(0, 0.002)))
                for _ in range(1 if exact else 5)
            ]
            yield Samples(figure.point, "measure", 0, figure.metric, values)
