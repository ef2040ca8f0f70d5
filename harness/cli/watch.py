"""`harness watch`: what the machine does now, in the terminal, as JSON lines, or into a file."""

from __future__ import annotations

import json as json_
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.arguments import JsonOption, PluginOption
from harness.cli.complete import sampler_names
from harness.errors import HarnessError, InputError

if TYPE_CHECKING:
    from harness.telemetry.beside import Beside
    from harness.telemetry.live import Rolling
    from harness.telemetry.process import SamplingTask

__all__ = ["watch"]

_LOOKS_PER_S = 4


def watch(
    pid: Annotated[
        int | None, typer.Option(help="Watch this process and its children too.", min=1)
    ] = None,
    sampler: Annotated[
        list[str] | None,
        typer.Option(help="Only this one; repeatable.", autocompletion=sampler_names),
    ] = None,
    hz: Annotated[float, typer.Option(help="Readings per second.", min=1, max=200)] = 10.0,
    seconds: Annotated[
        float | None,
        typer.Option(help="End after this long.", min=0.1, show_default="until Ctrl-C"),
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keep all readings in this file, as JSON lines."),
    ] = None,
    plugin: PluginOption = None,
    json: JsonOption = False,
) -> int:
    """Show what the machine does now: GPUs, cores, memory, pressure. Ctrl-C ends it.

    With --json each reading is a line: time_ns, source, device, quantity, value, unit.
    """
    from harness.plugins import add_file
    from harness.telemetry.process import SamplingTask

    for path in plugin or ():
        add_file(path)
    _check(pid, sampler or [])
    task = SamplingTask(
        parent_pid=os.getpid(),
        hz=hz,
        samplers=sampler or None,
        plugin_files=[path.resolve() for path in plugin or []],
        worker_pid=pid,
        live=True,
    )
    with tempfile.TemporaryDirectory(prefix="harness-watch-") as folder:
        beside = _started(task, record or Path(folder) / "readings", Path(folder) / "log")
        try:
            _follow(beside, seconds, _print_lines if json else None)
        except KeyboardInterrupt:
            pass  # the way to end it
        finally:
            beside.stop()
    if beside.footer is None:
        raise HarnessError(beside.problem or "the sampler process ended")
    if not json:
        footer = beside.footer
        kept = f"; kept in {record}" if record else ""
        typer.echo(f"{footer.ticks} readings, {footer.missed} missed{kept}", err=True)
    return 0


def _check(pid: int | None, samplers: list[str]) -> None:
    """Refuse what cannot be watched before a process is started for it."""
    from harness.contracts import Sampler
    from harness.plugins import find

    for name in samplers:
        find(Sampler, name)
    if pid is not None and not Path(f"/proc/{pid}").exists():
        raise InputError(f"there is no process {pid}", where="--pid")


def _started(task: SamplingTask, readings: Path, log: Path) -> Beside:
    from harness.telemetry.beside import Beside

    try:
        beside = Beside(task, readings, log)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", where=str(readings)) from error
    if beside.header is None:
        beside.stop()
        raise HarnessError(beside.problem or "the sampler process did not start")
    return beside


def _follow(
    beside: Beside, seconds: float | None, show: Callable[[Beside, Rolling], None] | None
) -> None:
    """Look again and again, until the time is over or the sampler has ended."""
    from harness.telemetry.live import Rolling

    assert beside.header is not None
    rolling = Rolling(beside.header)
    end = None if seconds is None else time.monotonic() + seconds
    view: AbstractContextManager[object] = nullcontext()
    if show is None:
        from harness.cli.watch_view import LiveView

        view = live = LiveView(beside.header)
        show = live.show
    with view:
        while beside.alive and (end is None or time.monotonic() < end):
            time.sleep(1 / _LOOKS_PER_S if end is None else min(1 / _LOOKS_PER_S, seconds or 1))
            show(beside, rolling)


def _print_lines(beside: Beside, rolling: Rolling) -> None:
    from harness.telemetry.lines import Call

    for item in beside.take():
        if not isinstance(item, Call):
            continue
        for place, row in enumerate(rolling.add(item)):
            q, value = row.quantity, item.values[place]
            said = {
                "time_ns": item.at_ns,
                "source": row.source,
                "device": q.device,
                "quantity": q.name,
                "value": value,
                "unit": q.unit,
            }
            if value is None:
                said["reason"] = item.why.get(place)
            typer.echo(json_.dumps(said))
