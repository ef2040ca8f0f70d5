"""From the graphs of `backends.onnx_graphs` to files: names, open sizes, weights beside the graph.

It must not know what the graphs compute, nor where the files are kept.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from backends.onnx_graphs import ContribGraph, PromptGraph, StepGraph
from harness.model.decoder import Decoder

__all__ = ["GRAPHS", "cache_names", "export"]


class Signature(NamedTuple):
    """How a graph is called: names, tensors to trace it with, which of their sizes stay open."""

    module: nn.Module
    inputs: dict[str, Tensor | list[Tensor]]
    open_sizes: dict[str, tuple[int, ...]]
    outputs: tuple[str, ...]
    cache_in: str
    cache_out: str
    cache_tensors: int
    opset: int
    """Of standard operators. 23 has the norm as one; its Attention, which the decoder's own would
    become, onnxruntime does not run as it is used here."""


def cache_names(prefix: str, count: int) -> list[str]:
    """Return the names of the cache's tensors among a graph's inputs or outputs."""
    return [f"{prefix}.{index}" for index in range(count)]


def _contrib(decoder: Decoder) -> Signature:
    config, batch, length, context = decoder.config, 2, 3, 5
    half = torch.zeros(context, config.head_dim // 2, dtype=decoder.dtype)
    keys = torch.zeros(batch, config.kv_heads, context, config.head_dim, dtype=decoder.dtype)
    return Signature(
        ContribGraph(decoder),
        {
            "tokens": torch.zeros(batch, length, dtype=torch.int64),
            "last_position": torch.full((batch,), length - 1, dtype=torch.int32),
            "longest": torch.full((1,), length, dtype=torch.int32),
            "last_token": torch.zeros(batch, dtype=torch.int64),
            "cos": half,
            "sin": half.clone(),
            "cache": [keys.clone() for _ in range(2 * config.layers)],
        },
        {
            "tokens": (0, 1),
            "last_position": (0,),
            "last_token": (0,),
            "cos": (0,),
            "sin": (0,),
            "cache": (0, 2),
        },
        ("logits", "next"),
        "past",
        "present",
        2 * config.layers,
        23,
    )


def _step(decoder: Decoder) -> Signature:
    config, batch, context, seen = decoder.config, 2, 7, 5
    rotations = torch.zeros(context, 2, 1, config.head_dim, dtype=decoder.dtype)
    slots = torch.zeros(batch * 2 * config.kv_heads * context, config.head_dim, dtype=decoder.dtype)
    return Signature(
        StepGraph(decoder),
        {
            "tokens": torch.zeros(batch, dtype=torch.int64),
            "positions": torch.zeros(batch, dtype=torch.int64),
            "columns": torch.arange(seen),
            "rotations": rotations,
            "first_slots": torch.zeros(batch, 2 * config.kv_heads, dtype=torch.int64),
            "cache": [slots.clone() for _ in range(config.layers)],
        },
        {
            "tokens": (0,),
            "positions": (0,),
            "columns": (0,),
            "rotations": (0,),
            "first_slots": (0,),
            "cache": (0,),
        },
        ("logits", "next"),
        "past",
        "present",
        config.layers,
        20,
    )


def _prompt(decoder: Decoder) -> Signature:
    config, batch, length = decoder.config, 2, 3
    return Signature(
        PromptGraph(decoder),
        {
            "tokens": torch.zeros(batch, length, dtype=torch.int64),
            "last_token": torch.zeros(batch, dtype=torch.int64),
            "rotations": torch.zeros(length, 2, 1, config.head_dim, dtype=decoder.dtype),
        },
        {"tokens": (0, 1), "last_token": (0,), "rotations": (0,)},
        ("logits", "next"),
        "",
        "written",
        config.layers,
        20,
    )


GRAPHS: dict[str, dict[str, Callable[[Decoder], Signature]]] = {
    "contrib": {"both": _contrib},
    "export": {"step": _step, "prompt": _prompt},
}
"""By option, the graphs it takes, by name of their file."""


def export(decoder: Decoder, graph: str, folder: Path) -> None:
    """Write the graphs of one kind into `folder`, weights beside them; all of it or nothing.

    Args:
        decoder: On the host, its matrices plain.
        graph: A key of `GRAPHS`.
        folder: Exists and is empty.
    """
    aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".making-"))
    try:
        for name, signature in GRAPHS[graph].items():
            _write(signature(decoder), aside / f"{name}.onnx")
        with contextlib.suppress(OSError):  # another process was quicker: the same files are there
            aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _write(graph: Signature, path: Path) -> None:
    dynamic = torch.export.Dim.DYNAMIC
    sizes: dict[str, Any] = {
        name: dict.fromkeys(graph.open_sizes.get(name, ()), dynamic) for name in graph.inputs
    }
    names = [name for name in graph.inputs if name != "cache"]
    if "cache" in graph.inputs:
        sizes["cache"] = [sizes["cache"]] * graph.cache_tensors
        names += cache_names(graph.cache_in, graph.cache_tensors)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside of the exporter
        program = torch.onnx.export(
            graph.module.eval(),
            kwargs=graph.inputs,
            dynamo=True,
            dynamic_shapes=sizes,
            input_names=names,
            output_names=[*graph.outputs, *cache_names(graph.cache_out, graph.cache_tensors)],
            verbose=False,
            opset_version=graph.opset,
        )
    assert program is not None  # with dynamo
    program.save(path, external_data=True)
