"""Which devices are watched, and what is doubted where a worker computed on another one."""

from pathlib import Path

from harness.cautions import CautionKind
from harness.engine.watching import Watching
from harness.spec import TelemetrySpec


def watching(tmp_path: Path, *devices: str) -> Watching:
    return Watching(TelemetrySpec(), tmp_path, [], 1, devices)


def test_a_worker_on_the_gpu_that_is_watched_is_not_doubted(tmp_path: Path) -> None:
    # torch gives the UUID without the prefix that NVML gives it
    assert list(watching(tmp_path, "GPU-aa-1").elsewhere({"gpu_uuid": "aa-1"})) == []


def test_a_worker_on_another_gpu_is(tmp_path: Path) -> None:
    (doubt,) = watching(tmp_path, "GPU-aa-1").elsewhere({"gpu_uuid": "bb-2"})

    assert doubt.kind is CautionKind.NOT_WATCHED
    assert doubt.message == "computed on GPU bb-2; watched was GPU-aa-1"


def test_without_a_gpu_or_where_all_are_watched_there_is_nothing_to_doubt(tmp_path: Path) -> None:
    assert list(watching(tmp_path).elsewhere({"gpu_uuid": "bb-2"})) == []
    assert list(watching(tmp_path, "GPU-aa-1").elsewhere({})) == []
