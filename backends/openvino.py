"""OpenVINO: the decoder as a stateful model on its CPU plugin, what a CPU's user would pick.

Made by `backends.openvino_graph`, once for each model, and kept by content. openvino and torch are
imported inside functions, because `harness list` imports this file and must stay quick.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import inspect
import time
from collections import Counter
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from harness.cache import cache_folder
from harness.contracts import Availability, Backend, BackendOptions
from harness.errors import UnavailableError
from harness.model.engine_session import EngineSession

if TYPE_CHECKING:
    from torch import Tensor

    from harness.model import Model, ModelConfig

__all__ = ["OpenVinoBackend", "OpenVinoOptions", "OpenVinoSession"]

_PRECISIONS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}


class OpenVinoOptions(BackendOptions):
    """What openvino takes beside dtype, threads and device."""

    hint: Literal["LATENCY", "THROUGHPUT"] = "LATENCY"
    """OpenVINO's performance hint."""
    properties: dict[str, str] = Field(default_factory=dict)
    """Further properties by OpenVINO's names, such as `ENABLE_CPU_PINNING`."""


class OpenVinoBackend(Backend):
    """Runs a converted model in OpenVINO's CPU plugin."""

    summary = "OpenVINO's CPU plugin on a stateful model"
    Options = OpenVinoOptions

    def availability(self, device: str) -> Availability:
        """It needs the extra, and runs on a CPU."""
        if device != "cpu":
            return Availability.no(f"OpenVINO is used on cpu here, not on {device}")
        if importlib.util.find_spec("openvino") is None:
            return Availability.no(
                "openvino is not installed", "pip install 'inference-harness[openvino]'"
            )
        return Availability.yes()

    def load(self, model: Model, device: str, options: OpenVinoOptions) -> OpenVinoSession:
        """Convert the model unless that was done before, and compile it.

        Raises:
            UnavailableError: where the plugin will not compute in `dtype` here.
        """
        can = self.availability(device)
        if not can.ok:
            raise UnavailableError(f"openvino: {can.reason}", remedy=can.remedy)
        import torch

        torch.set_num_threads(options.threads)
        started = time.monotonic()
        path, fresh = _converted(model)
        converted = time.monotonic()
        precision = _PRECISIONS[options.dtype]
        try:
            compiled = _core().compile_model(
                path,
                "CPU",
                {
                    "INFERENCE_PRECISION_HINT": precision,
                    # The precision asked for: left alone, the plugin may choose fewer bits.
                    "KV_CACHE_PRECISION": precision,
                    "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",
                    "INFERENCE_NUM_THREADS": str(options.threads),
                    "PERFORMANCE_HINT": options.hint,
                    **options.properties,
                },
            )
        except RuntimeError as error:
            said = [line for line in str(error).splitlines() if line.strip()]
            raise UnavailableError(f"openvino: {said[-1] if said else 'no reason'}") from error
        _require(compiled, precision)
        facts = {
            "openvino": metadata.version("openvino"),
            "convert_s": converted - started if fresh else None,
            "compile_s": time.monotonic() - converted,
            "converted_bytes": sum(file.stat().st_size for file in path.parent.iterdir()),
            "operators": _operators(compiled),
        }
        return OpenVinoSession(compiled, model.config, facts)


@functools.cache
def _core() -> Any:
    """Return the one core of this process: each that is made keeps its plugins for good."""
    import openvino

    return openvino.Core()


class OpenVinoSession(EngineSession):
    """A compiled model and, once prepared, a request that holds the cache."""

    def __init__(self, compiled: Any, config: ModelConfig, facts: Mapping[str, Any]) -> None:
        super().__init__("cpu", facts)
        self._compiled = compiled
        self._config = config
        self._request: Any = None
        self._held: dict[str, Tensor] = {}

    def allocate(self, batch: int, context: int) -> tuple[Tensor, Tensor]:
        """Make a request whose outputs are written where they are read."""
        import torch

        from harness.model.rope import rotation_table

        self._request = self._compiled.create_infer_request()
        self._next = torch.zeros(batch, dtype=torch.int64)
        self._scores = torch.zeros(batch, self._config.vocab_size)
        self._rows = torch.arange(batch)
        self._positions = torch.zeros(batch, 1, dtype=torch.int64)
        # What is added to scores: -inf where padding of the prompts lies in the cache.
        self._hidden = torch.zeros(batch, 1, 1, context)
        cos, sin = rotation_table(self._config, context, torch.float32, "cpu")[:, :, 0].unbind(1)
        unsigned = sin[:, sin.shape[1] // 2 :].repeat(1, 2)
        self._set(cos=cos.contiguous(), sin=unsigned, rows=self._rows.int())
        self._request.set_tensor("logits", _shared(self._scores))
        self._request.set_tensor("next", _shared(self._next))
        return self._next, self._scores

    def start(self, tokens: Tensor, lengths: Tensor) -> None:
        """Read the prompts with an empty cache; padding stays in it, hidden."""
        import torch

        batch, length = tokens.shape
        columns = torch.arange(self.context)
        padding = (columns >= lengths[:, None]) & (columns < length)
        self._hidden.zero_().masked_fill_(padding[:, None, None], -torch.inf)
        after = torch.ones(length, length, dtype=torch.bool).triu(1)
        mask = torch.zeros(batch, 1, length, length).masked_fill_(after, -torch.inf)
        self._request.reset_state()
        self._infer(
            tokens=tokens,
            positions=torch.arange(length).repeat(batch, 1),
            mask=mask,
            last_token=self._rows * length + lengths - 1,
        )
        self._positions.copy_(lengths[:, None])

    def step(self) -> None:
        """Feed each row its last token."""
        self._infer(
            tokens=self._next[:, None].clone(),  # read while the next are written
            positions=self._positions,
            mask=self._hidden[..., : self.span].contiguous(),
            last_token=self._rows,
        )
        self._positions += 1

    def release(self) -> None:
        """Drop the request and with it the cache."""
        self._request = None
        self._held = {}

    def unload(self) -> None:
        """Drop the compiled model; OpenVINO still keeps about half a mebibyte of each."""
        if self._compiled is not None:
            self._compiled.release_memory()
        self._compiled = None

    def _infer(self, **inputs: Tensor) -> None:
        self._set(**inputs)
        self._request.infer()

    def _set(self, **inputs: Tensor) -> None:
        self._held |= inputs  # OpenVINO is given addresses
        for name, tensor in inputs.items():
            self._request.set_tensor(name, _shared(tensor))


def _shared(tensor: Tensor) -> Any:
    """Show OpenVINO a tensor without copying it."""
    import openvino

    return openvino.Tensor(tensor.numpy(), shared_memory=True)


def _converted(model: Model) -> tuple[Path, bool]:
    """Return the file of the converted model, and whether it was made just now.

    One for all precisions: the plugin rounds float32 weights to the one it computes in.
    """
    from backends import openvino_graph
    from harness.model import decoder, linear, rope

    hasher = hashlib.blake2b(digest_size=16)
    hasher.update(f"{model.digest}\n{metadata.version('openvino')}\n".encode())
    for module in (openvino_graph, decoder, linear, rope):  # what is converted
        hasher.update(inspect.getsource(module).encode())
    path = cache_folder("openvino", hasher.hexdigest()) / "model.xml"
    if path.exists():
        return path, False
    openvino_graph.convert(decoder.Decoder.from_model(model), path)
    return path, True


def _require(compiled: Any, precision: str) -> None:
    """Refuse a precision that the plugin replaced by another one.

    Raises:
        UnavailableError: where it did.
    """
    for name in ("INFERENCE_PRECISION_HINT", "KV_CACHE_PRECISION"):
        used = compiled.get_property(name).get_type_name()
        if used != precision:
            raise UnavailableError(
                f"openvino: this CPU computes {precision} in {used} ({name})",
                remedy='use dtype = "float32"',
            )


def _operators(compiled: Any) -> dict[str, int]:
    """Count the operators that are executed, by the plugin's names."""
    kinds = Counter(
        str(op.get_rt_info()["layerType"].value) for op in compiled.get_runtime_model().get_ops()
    )
    return dict(sorted(kinds.items()))
