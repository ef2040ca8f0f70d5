"""`harness doctor`: what works on this machine, what does not, and the command that would help.

Each row is a check that ends in a finding; a check that breaks is a finding too.
"""

import json as json_
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from harness.cli.arguments import JsonOption, PluginOption, StoreOption
from harness.cli.capture import complete_backends, show_capture
from harness.cli.sensors import sensor_findings
from harness.cli.table import stdout
from harness.contracts import Availability, Backend
from harness.environment.facts import is_absent
from harness.environment.gpu import gpus
from harness.environment.health import Finding, Status, machine_findings
from harness.plugins import Broken, add_file, load_all
from harness.shown import printable, quantity
from harness.store.folder import DEFAULT_ROOT

__all__ = ["doctor"]

_COLOURS = {"ok": "green", "note": "yellow", "missing": "red"}
_LITTLE_BYTES = 2**30
_SLOW_CLOCK_NS = 500


def doctor(
    store: StoreOption = Path(DEFAULT_ROOT),
    capture: Annotated[
        list[str] | None,
        typer.Option(
            "--capture",
            metavar="BACKEND",
            help="Instead: may this backend's step be captured as a CUDA graph? Needs no GPU.",
            autocompletion=complete_backends,
        ),
    ] = None,
    plugin: PluginOption = None,
    json: JsonOption = False,
) -> None:
    """Say what works on this machine, what does not, and the command that would help.

    With --capture, exits with 3 where something stands in the way of a capture.
    """
    for path in plugin or ():
        add_file(path)
    if capture:
        show_capture(capture, plugin or (), json=json)
        return
    findings = list(_findings(store, plugin or []))
    if json:
        typer.echo(json_.dumps({"findings": [asdict(finding) for finding in findings]}, indent=1))
        return
    console = stdout()
    console.print(_table(findings))
    counts = {s: sum(f.status == s for f in findings) for s in _COLOURS}
    console.print(
        f"\n{counts['ok']} ok; {counts['note']} to note: figures may suffer; "
        f"{counts['missing']} missing: cannot be done here"
    )


def _findings(store: Path, plugins: list[Path]) -> Iterator[Finding]:
    yield _python()
    yield _torch()
    yield from _backends()
    yield from _gpus()
    yield from sensor_findings(plugins)
    yield from machine_findings()
    yield _clock()
    yield _store(store)
    yield _py_spy()
    yield _compiler()


def _python() -> Finding:
    version = platform.python_version()
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Finding("Python", "note", f"{version} is not tested", "use Python 3.11 to 3.13")
    return Finding("Python", "ok", f"{version}, {sys.executable}")


def _torch() -> Finding:
    try:
        import torch
    except (ImportError, OSError) as error:
        return Finding("torch", "missing", f"does not import: {error}", "pip install torch")
    features = [torch.backends.cpu.get_cpu_capability()]
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]  # PyTorch's
        features.append("without oneDNN")
    cuda = torch.version.cuda
    features.append(f"CUDA {cuda}" if cuda else "built without CUDA")
    return Finding("torch", "ok", f"{torch.__version__}, {', '.join(features)}")


def _backends() -> Iterator[Finding]:
    for name, backend in load_all(Backend).items():
        if isinstance(backend, Broken):
            yield Finding(f"backend {name}", "missing", backend.reason)
            continue
        for device in ("cpu", "cuda"):
            can = _availability(backend, device)
            finding = "can run" if can.ok else can.reason or "gives no reason"
            status: Status = "ok" if can.ok else "missing"
            yield Finding(f"{name} on {device}", status, finding, can.remedy)


def _availability(backend: Backend, device: str) -> Availability:
    try:
        return backend.availability(device)
    except Exception as error:  # noqa: BLE001  # whatever a third party's code raises is its reason
        return Availability.no(f"does not say: {type(error).__name__}: {error}")


def _gpus() -> Iterator[Finding]:
    found = gpus()
    if not isinstance(found, list):
        remedy = "install the NVIDIA driver" if Path("/proc/driver/nvidia").exists() else None
        yield Finding("GPU", "missing", found["absent"], remedy)
        return
    for number, gpu in enumerate(found):
        known = {key: "unknown" if is_absent(value) else value for key, value in gpu.items()}
        size = known["memory_bytes"]
        memory = quantity(size, "bytes") if isinstance(size, int) else "memory unknown"
        finding = f"{known['name']}, {memory}, driver {known['driver']}"
        yield Finding(f"GPU {number}", "ok", finding)


def _clock() -> Finding:
    calls = 2000
    start_ns = time.perf_counter_ns()
    for _ in range(calls):
        time.monotonic_ns()
    cost_ns = (time.perf_counter_ns() - start_ns) / calls
    resolution_ns = time.get_clock_info("monotonic").resolution * 1e9
    finding = f"{cost_ns:.0f} ns a look, resolution {resolution_ns:g} ns"
    return Finding("clock", "ok" if cost_ns < _SLOW_CLOCK_NS else "note", finding)


def _store(store: Path) -> Finding:
    place = store.absolute()
    if place.exists() and not place.is_dir():
        return Finding("store", "missing", f"{store} is not a folder", "--store DIR")
    try:
        there = next(parent for parent in (place, *place.parents) if parent.exists())
        free = shutil.disk_usage(there).free
    except OSError as error:
        return Finding("store", "missing", f"{store}: {error.strerror}", "--store DIR")
    if not os.access(there, os.W_OK | os.X_OK):
        return Finding("store", "missing", f"{store} cannot be written", "--store DIR")
    status: Status = "ok" if free > _LITTLE_BYTES else "note"
    new = "" if there == place else " (not there yet)"
    return Finding("store", status, f"{store}{new}, {quantity(free, 'bytes')} free")


def _py_spy() -> Finding:
    try:
        return Finding("py-spy", "ok", metadata.version("py-spy"))
    except metadata.PackageNotFoundError:
        if path := shutil.which("py-spy"):
            return Finding("py-spy", "ok", path)
    return Finding("py-spy", "missing", "is not installed", "pip install py-spy")


def _compiler() -> Finding:
    for name in filter(None, (os.environ.get("CXX"), "g++", "clang++", "c++")):
        if path := shutil.which(name):
            return Finding("C++ compiler", "ok", path)
    return Finding(
        "C++ compiler", "missing", "none found; torch.compile needs one", "apt-get install g++"
    )


def _table(findings: list[Finding]) -> Table:
    """Return three columns that fold at 80: status, check, finding with its remedy beneath."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        said = Text(printable(finding.finding))
        if finding.remedy:
            said.append(f"\n→ {printable(finding.remedy)}", style="bold")
        status = Text(finding.status, style=_COLOURS[finding.status])
        table.add_row(status, Text(printable(finding.check)), said)
    return table
