"""Nsight Systems around a worker: the command before its own, and ranges to read its picture by.

Ranges are NVTX's, one for each call of a phase and one for each layer in it. Whoever compiles or
captures runs no layer of ours one by one: there only the phases are marked.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import UnavailableError

__all__ = ["Ranges", "command", "nvtx", "report_of"]


def command(stem: Path) -> list[str]:
    """Return what stands before a worker's command, so that Nsight Systems watches it.

    Args:
        stem: Of the report; Nsight Systems adds `.nsys-rep`.

    Raises:
        UnavailableError: where it is not installed.
    """
    nsys = shutil.which("nsys")
    if nsys is None:
        raise UnavailableError(
            "nsys: Nsight Systems is not on the PATH", remedy="install nsight-systems-cli"
        )
    options = ("--trace=cuda,nvtx,osrt", "--sample=none", "--cpuctxsw=none")
    return [nsys, "profile", *options, "--force-overwrite=true", f"--output={stem}"]


def report_of(stem: Path) -> Path:
    """Return where Nsight Systems leaves its report."""
    return stem.with_name(f"{stem.name}.nsys-rep")


@dataclass(frozen=True)
class Ranges:
    """Begins and ends named ranges, one inside the other."""

    push: Callable[[str], Any]
    pop: Callable[[], Any]

    @contextlib.contextmanager
    def call(self, name: str) -> Iterator[None]:
        """Mark a call, and each layer of the decoder in it."""
        self.push(name)
        try:
            with self._layers():
                yield
        finally:
            self.pop()

    @contextlib.contextmanager
    def _layers(self) -> Iterator[None]:
        """Mark each layer: `project` begins it, `absorb` ends it."""
        from harness.model.decoder import Layer

        project, absorb, numbers = Layer.project, Layer.absorb, itertools.count()

        def begin(layer: Layer, *given: Any) -> Any:
            self.push(f"layer {next(numbers)}")
            return project(layer, *given)

        def end(layer: Layer, *given: Any) -> Any:
            try:
                return absorb(layer, *given)
            finally:
                self.pop()

        Layer.project, Layer.absorb = begin, end  # type: ignore[method-assign,assignment]
        try:
            yield
        finally:
            Layer.project, Layer.absorb = project, absorb  # type: ignore[method-assign]


def nvtx() -> Ranges:
    """Return NVTX's ranges.

    Raises:
        UnavailableError: where this PyTorch is built without CUDA.
    """
    import torch

    try:
        torch.cuda.nvtx.mark("harness")  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        raise UnavailableError("nsys: no ranges, this PyTorch is built without CUDA") from error
    return Ranges(torch.cuda.nvtx.range_push, torch.cuda.nvtx.range_pop)
