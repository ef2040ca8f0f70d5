"""A run as TensorBoard's event files: scalars, histograms, hparams, and every chart as an image.

    FOLDER/RUN/          the run's charts
    FOLDER/RUN/CASE/     a case: what TensorBoard calls a run, so that cases are held side by side

The files hold the time of the run and nothing of the machine that writes them: the same run gives
the same bytes. The messages are tensorboardX's, which needs protobuf alone; its own writer is not
used, since it puts clock and host name into every file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from harness.errors import StoreError, UnavailableError
from harness.shown import printable
from harness.store import Run
from harness.store.record import CaseRecord, RunRecord
from harness.store.view import lines, marks_of

__all__ = ["to_tensorboard"]

_BUCKETS = 30


def to_tensorboard(run: Run, folder: Path) -> list[Path]:
    """Write a run's event files and return them, the run's own first.

    Raises:
        UnavailableError: where tensorboardX is not installed.
        StoreError: where the folder cannot be written.
    """
    try:
        import tensorboardX  # noqa: F401 - said here, once, before anything is read
    except ImportError as error:
        raise UnavailableError(
            "tensorboardX is not installed", remedy="pip install inference-harness[tensorboard]"
        ) from error
    made_at = datetime.fromisoformat(run.record.created_at).timestamp()
    top = folder / _name(run.id)
    samples = _samples(run)
    cases = {case.id: _case(case, run.record, samples) for case in run.record.cases}
    return [
        _write(top, made_at, _images(run)),
        *(_write(top / _name(case), made_at, events) for case, events in cases.items()),
    ]


Event = tuple[int, Any]
"""A step, and the summary at it."""
Series = dict[tuple[str, str, int], Any]
"""Metric, point and round to the samples, as a table with `index` and `value`."""


def _write(folder: Path, made_at: float, events: Iterator[Event]) -> Path:
    """Write one event file."""
    from tensorboardX.proto.event_pb2 import Event as Message
    from tensorboardX.record_writer import RecordWriter

    messages = [Message(wall_time=made_at, file_version="brain.Event:2")]
    messages += [Message(wall_time=made_at, step=step, summary=said) for step, said in events]
    path = folder / f"events.out.tfevents.{round(made_at)}.inference-harness"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writer = RecordWriter(str(path.resolve()))
        for message in messages:
            writer.write(message.SerializeToString(deterministic=True))
        writer.close()
    except OSError as error:
        raise StoreError(
            f"cannot be written: {error.strerror}", where=str(path), remedy="name a folder with -o"
        ) from error
    return path


def _case(case: CaseRecord, record: RunRecord, samples: Mapping[str, Series]) -> Iterator[Event]:
    """Yield figures with their intervals, one centre and histogram a process, and the settings."""
    headlines: dict[str, float] = {}
    for line in lines(case, record, rates=True):
        name = " ".join(filter(None, [line.metric.name, line.point]))
        for statistic, figure in line.figures.items():
            reading = figure.reading
            ends = {"": reading.value, " low": reading.low, " high": reading.high}
            for end, value in ends.items():
                if value is not None:
                    yield 0, _scalar(f"figures/{name}/{statistic}{end}", value)
        if line.headline.reading.value is not None:
            headlines[f"hparam/{name}"] = line.headline.reading.value
    for (metric, point, number), table in samples.get(case.id, {}).items():
        name = " ".join(filter(None, [metric, point]))
        values = table["value"].to_numpy()
        yield number, _scalar(f"processes/{name}", float(table["value"].median()))
        yield number, _histogram(f"samples/{name}", values)
    for metric, point, along in _sequences(samples.get(case.id, {})):
        name = " ".join(filter(None, [metric, point]))
        for step, value in along:
            yield step, _scalar(f"sequence/{name}", value)
    for said in _hparams(_settings(case, record), headlines):
        yield 0, said


def _sequences(series: Series) -> Iterator[tuple[str, str, list[tuple[int, float]]]]:
    """Yield what each place of a sequence took, the middle over processes and iterations."""
    import pandas as pd

    names = dict.fromkeys((metric, point) for metric, point, _ in series)
    for metric, point in names:
        tables = [t for (m, p, _), t in series.items() if (m, p) == (metric, point)]
        middle = pd.concat(tables).groupby("index")["value"].median()
        if len(middle) > 2:
            yield metric, point, [(int(str(i)), float(v)) for i, v in middle.items()]


def _samples(run: Run) -> dict[str, Series]:
    """Return the measured samples by case, then by metric, point and process."""
    frame = run.samples
    frame = frame[frame["phase"] == "measure"]
    found: dict[str, Series] = {}
    keys = ["case", "metric", "point", "round"]
    for key, rows in frame.groupby(keys, observed=True, sort=True):
        case, metric, point, number = map(str, key)
        found.setdefault(case, {})[metric, point, int(number)] = rows
    return found


def _settings(case: CaseRecord, record: RunRecord) -> dict[str, str | float | bool]:
    """Return what tells the cases apart, as the table of hparams wants it."""
    options = {**case.scenario_options, **case.backend_options}
    said = {
        "model": case.model,
        "backend": case.backend,
        "scenario": case.scenario,
        "status": case.status,
        "marks": ", ".join(marks_of(case, record)) or "none",
        **{key: options[key] for key in sorted(options)},
    }
    return {
        printable(key): value if isinstance(value, bool | int | float) else printable(value)
        for key, value in said.items()
    }


def _hparams(settings: Mapping[str, Any], metrics: Mapping[str, float]) -> Iterator[Any]:
    """Yield what the hparams page reads; maps in it are put in order, as bytes must not vary."""
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData
    from tensorboardX.summary import hparams

    for said in hparams(dict(settings), dict(metrics)):
        for value in said.value:
            plugin = value.metadata.plugin_data
            content = HParamsPluginData.FromString(plugin.content)
            plugin.content = content.SerializeToString(deterministic=True)
        yield said
    for name, number in metrics.items():
        yield _scalar(name, number)


def _images(run: Run) -> Iterator[Event]:
    """Yield every chart that the run has the data for."""
    from harness.charts import charts
    from harness.pictures import png

    for name, chart in charts().items():
        data = chart.data([run])
        if len(data):
            yield 0, _image(f"charts/{name}", png(chart.figure(data), dpi=110))


def _scalar(tag: str, value: float) -> Any:
    from tensorboardX.proto.summary_pb2 import Summary

    return Summary(value=[Summary.Value(tag=printable(tag), simple_value=value)])


def _histogram(tag: str, values: Any) -> Any:
    from tensorboardX.proto.summary_pb2 import Summary
    from tensorboardX.summary import make_histogram

    histogram = make_histogram(values, bins=_BUCKETS)
    return Summary(value=[Summary.Value(tag=printable(tag), histo=histogram)])


def _image(tag: str, data: bytes) -> Any:
    from tensorboardX.proto.summary_pb2 import Summary

    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))  # PNG's header
    picture = Summary.Image(height=height, width=width, colorspace=4, encoded_image_string=data)
    return Summary(value=[Summary.Value(tag=tag, image=picture)])


def _name(text: str) -> str:
    """Return a folder's name for any text: readable, unique, harmless."""
    readable = re.sub(r"[^A-Za-z0-9.=_-]+", "-", text).strip("-.")[:80]
    if readable == text:
        return text
    return f"{readable}-{sha256(text.encode('utf-8', 'replace')).hexdigest()[:8]}"
