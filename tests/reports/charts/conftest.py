from pathlib import Path

import pandas as pd
import pytest

from harness.reading import Reading
from harness.store import Run
from harness.store.record import EnergyRecord

SAMPLE = Path(__file__).parents[1] / "sample_run"


@pytest.fixture(scope="session")
def sample() -> Run:
    """A real run of the default suite: eager in float32 and bfloat16, three scenarios."""
    return Run(SAMPLE)


class Watched:
    """The sample as if sensors had been beside it: made-up readings around its real phases."""

    def __init__(self, run: Run) -> None:
        self.path, self.samples, self.problems = run.path, run.samples, []
        self.record = run.record.model_copy(deep=True)
        start = min(p.start_ns for c in self.record.cases for r in c.rounds for p in r.phases)
        self.telemetry = pd.DataFrame(_readings(start))
        for case, joules in zip(self.record.cases, (9.0, 6.0, 8.0, 4.0, 3.0, 2.0), strict=True):
            for point in dict.fromkeys(f.point for f in case.figures if f.point or case.figures):
                case.energy.append(_energy(point, joules))


def _readings(start: int) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for second in range(60):
        common = {"time_ns": start + second * 10**9, "source": "host", "unit": ""}
        for name, device, value in (
            ("busy_s", "", 1.5 * second),  # a counter: 1.5 cores are busy
            ("clock_mhz", "cpu0", 3000.0 - second),
            ("resident_bytes", "worker", 1e8 + 1e6 * second),
            ("cgroup_throttled_s", "", 0.0 if second < 30 else 0.5),
        ):
            rows.append(common | {"quantity": name, "device": device, "value": value})
    return rows


def _energy(point: str, joules: float) -> EnergyRecord:
    per = Reading(value=joules / 10, low=joules / 11, high=joules / 9)
    return EnergyRecord(
        phase="measure", point=point, source="rapl", device="package-0", rounds=3, seconds=9.0,
        joules=Reading(value=joules), net_joules=Reading(value=joules / 2), tokens=10,
        joules_per_token=per, net_joules_per_token=Reading(value=joules / 20), method="counter",
    )  # fmt: skip


@pytest.fixture(scope="session")
def watched(sample: Run) -> Watched:
    return Watched(sample)
