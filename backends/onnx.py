"""ONNX Runtime: the decoder as an ONNX graph, run on bound buffers with the cache in place.

`backends.onnx_graphs` says what is computed and `backends.onnx_export` makes files of it, once for
each model and precision, kept by content; `backends.onnx_bound` holds the buffers. onnxruntime and
torch are imported inside functions, because `harness list` imports this file and must stay quick.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import inspect
import json
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from harness.cache import cache_folder
from harness.contracts import Availability, Backend, BackendOptions
from harness.devices import torch_runs_on
from harness.errors import UnavailableError
from harness.model.engine_session import EngineSession

if TYPE_CHECKING:
    from torch import Tensor

    from backends.onnx_bound import Bound
    from harness.model import Model, ModelConfig

__all__ = ["OnnxBackend", "OnnxOptions", "OnnxSession"]

_NEEDED = ("onnx", "onnxruntime", "onnxscript")
_INSTALL = "pip install 'inference-harness[onnx]'"
_OF_DEVICE = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxOptions(BackendOptions):
    """What onnx takes beside dtype, threads and device."""

    graph: Literal["contrib", "export"] = "contrib"
    """`contrib`: attention, rotation and cache by onnxruntime's GroupQueryAttention; `export`: the
    decoder's own step in standard operators, which copies the part of the cache in use."""
    providers: tuple[str, ...] = ()
    """Execution providers by onnxruntime's names, the preferred first; by default the device's."""
    optimization: Literal["all", "extended", "basic", "disabled"] = "all"
    """How far onnxruntime rewrites the graph."""
    spinning: bool = False
    """Whether idle threads of onnxruntime burn their core while they wait for the next operator."""
    session: dict[str, str] = Field(default_factory=dict)
    """Further session options by onnxruntime's names, such as `session.disable_prepacking`."""


class OnnxBackend(Backend):
    """Runs an exported graph in onnxruntime."""

    summary = "ONNX Runtime on an exported graph, the cache in place"
    Options = OnnxOptions

    def availability(self, device: str) -> Availability:
        """It needs the extra; on a GPU also onnxruntime's CUDA build, and one PyTorch can use."""
        missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
        if missing:
            return Availability.no(f"{' and '.join(missing)} not installed", _INSTALL)
        on_torch = torch_runs_on(device)  # buffers are PyTorch's
        if not on_torch.ok or device == "cpu":
            return on_torch
        with contextlib.suppress(metadata.PackageNotFoundError):
            metadata.version("onnxruntime-gpu")
            return Availability.yes()
        return Availability.no(
            "the onnxruntime that is installed is built without CUDA",
            "pip uninstall onnxruntime; pip install onnxruntime-gpu",
        )

    def load(self, model: Model, device: str, options: OnnxOptions) -> OnnxSession:
        """Export the graphs unless that was done before, and have onnxruntime load them.

        Raises:
            UnavailableError: where a provider is not to be had, or lacks an operator in `dtype`.
        """
        import torch

        can = self.availability(device)
        if not can.ok:
            raise UnavailableError(f"onnx: {can.reason}", remedy=can.remedy)
        torch.set_num_threads(options.threads)
        providers = _providers(options, device)
        started = time.monotonic()
        folder, fresh = _exported(model, options)
        exported = time.monotonic()
        with tempfile.TemporaryDirectory() as profiles:
            sessions = {
                file.stem: _open(file, options, providers, Path(profiles))
                for file in sorted(folder.glob("*.onnx"))
            }
            opened = time.monotonic()
            facts = {
                "graph": options.graph,
                "providers": providers,
                "export_s": exported - started if fresh else None,
                "session_s": opened - exported,
                "export_bytes": sum(file.stat().st_size for file in folder.iterdir()),
                **_seen_running(sessions, model, options, device),
            }
        return OnnxSession(sessions, model, options, device, facts)


class OnnxSession(EngineSession):
    """Sessions of onnxruntime and, once prepared, the buffers bound to them."""

    def __init__(
        self,
        sessions: Mapping[str, Any],
        model: Model,
        options: OnnxOptions,
        device: str,
        facts: Mapping[str, Any],
    ) -> None:
        super().__init__(device, facts)
        self.sessions = sessions
        self._config = model.config
        self._options = options
        self.bound: Bound | None = None

    def allocate(self, batch: int, context: int) -> tuple[Tensor, Tensor]:
        """Allocate the buffers, touching all of them, and bind those of a step."""
        self.bound = _bound(
            self.sessions, self._config, self._options, self._device, batch, context
        )
        return self.bound.tokens, self.bound.logits

    def start(self, tokens: Tensor, lengths: Tensor) -> None:
        """Run the prompts."""
        assert self.bound is not None
        self.bound.prefill(tokens, lengths)

    def step(self) -> None:
        """Run one step."""
        assert self.bound is not None
        self.bound.step(self.span)

    def release(self) -> None:
        """Drop the buffers."""
        self.bound = None

    def unload(self) -> None:
        """Drop onnxruntime's sessions."""
        self.sessions = {}

    def facts(self) -> Mapping[str, Any]:
        """Say what was exported, where each operator runs, and how many bytes the buffers take."""
        return {**self._facts, "state_bytes": self.bound.nbytes if self.bound else 0}


def _providers(options: OnnxOptions, device: str) -> list[str]:
    """Return the execution providers to ask for, which all exist.

    Raises:
        UnavailableError: where the installed onnxruntime lacks one.
    """
    import onnxruntime

    wanted = list(options.providers) or [_OF_DEVICE[device]]
    here = onnxruntime.get_available_providers()
    for name in wanted:
        if name not in here:
            raise UnavailableError(
                f"onnx: this onnxruntime has no {name}", expected=f"one of {', '.join(here)}"
            )
    return wanted


def _exported(model: Model, options: OnnxOptions) -> tuple[Path, bool]:
    """Return the folder of the exported graphs, and whether they were made just now."""
    import torch

    from backends import onnx_export, onnx_graphs
    from harness.model import decoder, linear, rope

    hasher = hashlib.blake2b(digest_size=16)
    for part in (model.digest, options.dtype, options.graph, torch.__version__):
        hasher.update(f"{part}\n".encode())
    for package in ("onnx", "onnxscript"):
        hasher.update(f"{metadata.version(package)}\n".encode())
    for module in (onnx_export, onnx_graphs, decoder, linear, rope):  # what is exported
        hasher.update(inspect.getsource(module).encode())
    folder = cache_folder("onnx", hasher.hexdigest())
    if any(folder.iterdir()):
        return folder, False
    plain = decoder.Decoder.from_model(model, getattr(torch, options.dtype))
    onnx_export.export(plain, options.graph, folder)
    return folder, True


def _bound(
    sessions: Mapping[str, Any],
    config: ModelConfig,
    options: OnnxOptions,
    device: str,
    batch: int,
    context: int,
) -> Bound:
    import torch

    from backends.onnx_bound import BoundContrib, BoundExport

    kind = {"contrib": BoundContrib, "export": BoundExport}[options.graph]
    dtype = getattr(torch, options.dtype)
    return kind(sessions, config, batch, context, dtype, torch.device(device))


def _open(file: Path, options: OnnxOptions, providers: list[str], profiles: Path) -> Any:
    """Have onnxruntime load a graph, and note what it runs until it is told to stop.

    Raises:
        UnavailableError: where no provider has an operator in this precision.
    """
    import onnxruntime

    level = onnxruntime.GraphOptimizationLevel
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.log_severity_level = 4  # an error is raised and need not be printed as well
    settings.enable_profiling = True
    settings.profile_file_prefix = str(profiles / file.stem)
    settings.graph_optimization_level = {
        "all": level.ORT_ENABLE_ALL,
        "extended": level.ORT_ENABLE_EXTENDED,
        "basic": level.ORT_ENABLE_BASIC,
        "disabled": level.ORT_DISABLE_ALL,
    }[options.optimization]
    entries = {
        "session.intra_op.allow_spinning": str(int(options.spinning)),
        **options.session,
    }
    for name, value in entries.items():
        settings.add_session_config_entry(name, value)
    try:
        return onnxruntime.InferenceSession(file, settings, providers=providers)
    except Exception as error:
        raise UnavailableError(
            f"onnx: {options.dtype} on {', '.join(providers)}: {str(error).splitlines()[0]}",
            remedy='use dtype = "float32"',
        ) from error


def _seen_running(
    sessions: Mapping[str, Any], model: Model, options: OnnxOptions, device: str
) -> dict[str, Any]:
    """Run one token through each graph; say where and in which precision operators ran.

    Asked of a run rather than of the graph, since onnxruntime fuses operators, and casts around
    those that a provider lacks in a precision, without a word.
    """
    import torch

    bound = _bound(sessions, model.config, options, device, 1, 2)
    bound.prefill(torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, dtype=torch.int64))
    bound.step(2)
    placed: dict[str, Counter[str]] = {}
    in_float32: set[str] = set()
    for session in sessions.values():
        events = json.loads(Path(session.end_profiling()).read_text())
        for event in events:
            said = event.get("args", {})
            if event.get("cat") != "Node" or "provider" not in said:
                continue
            placed.setdefault(said["provider"], Counter())[said["op_name"]] += 1
            if any("float" in types for types in said.get("output_type_shape", [])):
                in_float32.add(said["op_name"])
    return {
        "operators": {name: dict(sorted(counts.items())) for name, counts in placed.items()},
        "computed_in_float32": sorted(in_float32) if options.dtype != "float32" else [],
    }
