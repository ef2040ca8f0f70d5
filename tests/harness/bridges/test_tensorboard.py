"""Event files are read back by TensorBoard itself, as its user would."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.bridges import to_tensorboard
from harness.errors import InputError, UnavailableError
from harness.store import Run, Store
from harness.testing.runs import example_record, example_samples

LATENCY = "smollm2-135m/eager[dtype=float32]/latency"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    record = example_record(statuses={"smollm2-135m/eager[dtype=bfloat16]/memory": "failed"})
    with Store(tmp_path_factory.mktemp("store")).create(record) as writer:
        for case in record.cases:
            for each in case.rounds:
                samples = example_samples(case, each.round) if case.status == "done" else []
                writer.add_round(case.id, each, samples)
        writer.finish(record)
    return Run(writer.path)


@pytest.fixture(scope="module")
def written(run: Run, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return to_tensorboard(run, tmp_path_factory.mktemp("boards"))


@pytest.fixture(scope="module")
def read() -> Callable[[Path], Any]:
    """What TensorBoard sees in a folder: everything, nothing thinned out."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def accumulate(path: Path) -> Any:
        sizes = dict.fromkeys(("scalars", "histograms", "images", "tensors"), 0)
        return EventAccumulator(str(path.parent), size_guidance=sizes).Reload()

    return accumulate


def of(case: str, run: Run, written: list[Path]) -> Path:
    """The file of a case; the run's own comes first, then cases in the record's order."""
    return written[1 + [each.id for each in run.record.cases].index(case)]


def test_every_figure_is_a_scalar_with_the_ends_of_its_interval(
    run: Run, written: list[Path], read: Callable[[Path], Any]
) -> None:
    seen = read(of(LATENCY, run, written))

    (figure,) = [
        f.reading
        for f in run.record.case(LATENCY).figures
        if (f.metric, f.statistic) == ("itl_ms", "p50")
    ]
    for end, expected in (("", figure.value), (" low", figure.low), (" high", figure.high)):
        (event,) = seen.Scalars(f"figures/itl_ms/p50{end}")
        assert event.value == pytest.approx(expected)


def test_each_process_has_a_centre_and_a_histogram_of_all_its_samples(
    run: Run, written: list[Path], read: Callable[[Path], Any]
) -> None:
    seen = read(of(LATENCY, run, written))
    frame = run.samples
    frame = frame[
        (frame["case"] == LATENCY) & (frame["metric"] == "itl_ms") & (frame["phase"] == "measure")
    ]

    centres = {event.step: event.value for event in seen.Scalars("processes/itl_ms")}
    histograms = {e.step: e.histogram_value for e in seen.Histograms("samples/itl_ms")}

    for number, rows in frame.groupby("round"):
        assert centres[number] == pytest.approx(rows["value"].median())
        assert histograms[number].num == len(rows)
        assert sum(histograms[number].bucket) == len(rows)
        assert histograms[number].max == pytest.approx(rows["value"].max())


def test_a_token_has_its_place_in_the_sequence_as_step(
    run: Run, written: list[Path], read: Callable[[Path], Any]
) -> None:
    steps = [event.step for event in read(of(LATENCY, run, written)).Scalars("sequence/itl_ms")]

    assert steps == list(range(8))


def test_settings_and_headlines_are_hparams(
    run: Run, written: list[Path], read: Callable[[Path], Any]
) -> None:
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    seen = read(of(LATENCY, run, written))
    content = seen.PluginTagToContent("hparams")
    start = HParamsPluginData.FromString(content["_hparams_/session_start_info"])
    about = HParamsPluginData.FromString(content["_hparams_/experiment"]).experiment

    settings = start.session_start_info.hparams
    assert settings["backend"].string_value == "eager"
    assert settings["dtype"].string_value == "float32"
    assert settings["threads"].number_value == 2
    metrics = [info.name.tag for info in about.metric_infos]
    assert "hparam/itl_ms" in metrics
    assert [e.value for e in seen.Scalars("hparam/itl_ms")] == pytest.approx([27.4], rel=0.05)


def test_a_case_without_figures_says_so_and_has_no_number(
    run: Run, written: list[Path], read: Callable[[Path], Any]
) -> None:
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    seen = read(of("smollm2-135m/eager[dtype=bfloat16]/memory", run, written))

    start = seen.PluginTagToContent("hparams")["_hparams_/session_start_info"]
    settings = HParamsPluginData.FromString(start).session_start_info.hparams
    assert settings["status"].string_value == "failed"
    assert seen.Tags()["scalars"] == []


def test_every_chart_of_the_run_is_an_image(
    written: list[Path], read: Callable[[Path], Any]
) -> None:
    seen = read(written[0])

    assert "charts/fastest" in seen.Tags()["images"]
    (image,) = seen.Images("charts/fastest")
    assert image.encoded_image_string.startswith(b"\x89PNG")
    assert image.width > 500


def test_the_same_run_gives_the_same_bytes_whenever_it_is_written(
    run: Run, written: list[Path], tmp_path: Path
) -> None:
    again = to_tensorboard(run, tmp_path)

    assert [path.name for path in again] == [path.name for path in written]
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in written]


def test_a_name_from_a_file_leads_to_no_other_folder(tmp_path: Path) -> None:
    record = example_record()
    record.cases = record.cases[:1]
    record.cases[0].id = "../../../etc/<b>\x1b[31m"
    with Store(tmp_path / "store").create(record) as writer:
        pass

    for path in to_tensorboard(Run(writer.path), tmp_path / "boards"):
        assert path.resolve().is_relative_to(tmp_path / "boards")


def test_a_missing_package_is_one_line_with_the_command(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tensorboardX", None)

    with pytest.raises(UnavailableError) as caught:
        to_tensorboard(run, tmp_path)
    assert "pip install inference-harness[tensorboard]" in str(caught.value)


def test_the_command_names_the_folder_and_wants_one(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from harness.cli.app import app

    asked = ["export", str(run.path), "--format", "tensorboard"]
    done = CliRunner().invoke(app, [*asked, "-o", str(tmp_path)], catch_exceptions=False)
    assert str(tmp_path / run.id) in done.stdout
    with pytest.raises(InputError, match="folder"):
        CliRunner().invoke(app, asked, catch_exceptions=False)
