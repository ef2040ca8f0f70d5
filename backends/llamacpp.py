"""llama.cpp through llama-cpp-python's bindings: what most users of a CPU run.

The weights are the reference's, written as a GGUF file in the precision asked for and kept by
content, so that both compute with the same numbers. llama.cpp chooses its own kernels; its logits
are read and held against the reference as everyone's. llama_cpp and torch are imported inside
functions, because `harness list` imports this file and must stay quick.
"""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from harness.cache import cache_folder
from harness.contracts import Availability, Backend, BackendOptions, Held
from harness.errors import SessionError, UnavailableError
from harness.model.engine_session import EngineSession

if TYPE_CHECKING:
    from torch import Tensor

    from harness.model import Model, ModelConfig

__all__ = ["LlamaCppBackend", "LlamaCppOptions", "LlamaCppSession"]

_GGML_TYPES = {"float32": 0, "float16": 1, "bfloat16": 30}
_ERROR = 4  # GGML_LOG_LEVEL_ERROR


class LlamaCppOptions(BackendOptions):
    """What llamacpp takes beside dtype, threads and device."""

    flash_attention: Literal["auto", "on", "off"] = "auto"
    """Whether attention is one operator of llama.cpp. `auto` leaves it the choice, but in float32
    turns it off: with it, prompts of more than one token fail the check in that precision."""
    ubatch: int = Field(default=512, ge=1)
    """Tokens that are computed together at most; longer prompts are cut."""


class LlamaCppBackend(Backend):
    """Runs a GGUF file in llama.cpp."""

    summary = "llama.cpp on the same weights as GGUF"
    Options = LlamaCppOptions

    def availability(self, device: str) -> Availability:
        """It needs the extra, and is built for a CPU here."""
        if device != "cpu":
            return Availability.no(f"llama.cpp is used on cpu here, not on {device}")
        if importlib.util.find_spec("llama_cpp") is None:
            return Availability.no(
                "llama-cpp-python is not installed",
                "pip install 'inference-harness[llamacpp]' (it compiles llama.cpp for minutes)",
            )
        return Availability.yes()

    def load(self, model: Model, device: str, options: LlamaCppOptions) -> LlamaCppSession:
        """Write the weights as GGUF unless that was done before, and have llama.cpp load them.

        Raises:
            UnavailableError: where llama.cpp is not to be had, or refuses the file.
        """
        can = self.availability(device)
        if not can.ok:
            raise UnavailableError(f"llamacpp: {can.reason}", remedy=can.remedy)
        if model.config.qkv_bias and model.config.rope_scaling:
            raise UnavailableError(
                f"llamacpp: {model.name} has biases (its qwen2) and Llama 3's scaled rotation "
                "(its llama); llama.cpp has no architecture with both"
            )
        if model.config.qkv_bias and model.config.heads * model.config.head_dim != (
            model.config.hidden_size
        ):
            raise UnavailableError(
                f"llamacpp: {model.name} has biases and heads that are not as wide together as its "
                "hidden size; llama.cpp's qwen2 takes no other"
            )
        import llama_cpp

        from harness.model.gguf_writer import write_gguf

        path = cache_folder("llamacpp", model.digest) / f"{options.dtype}.gguf"
        if not path.exists():
            write_gguf(model, options.dtype, path)
        said = _listen()
        settings = llama_cpp.llama_model_default_params()
        settings.n_gpu_layers = 0
        loaded = llama_cpp.llama_model_load_from_file(str(path).encode(), settings)
        if not loaded:
            why = next((line for line in said if "error" in line), said[-1] if said else "")
            raise UnavailableError(f"llamacpp: cannot load {path}: {why}")
        facts = {
            "llama_cpp_python": metadata.version("llama-cpp-python"),
            "system": llama_cpp.llama_print_system_info().decode().strip(),
            "weight_bytes": llama_cpp.llama_model_size(loaded),
        }
        return LlamaCppSession(loaded, model.config, options, facts)


class LlamaCppSession(EngineSession):
    """A loaded model and, once prepared, a context: one sequence for each row."""

    def __init__(
        self, loaded: Any, config: ModelConfig, options: LlamaCppOptions, facts: Mapping[str, Any]
    ) -> None:
        super().__init__("cpu", facts)
        self._model = loaded
        self._config = config
        self._options = options
        self._context: Any = None

    def held(self) -> Held:
        """Weights lie in the mapped file; what a context takes, llama.cpp does not say."""
        weights = int(self.facts()["weight_bytes"])
        return Held(weights=weights, mapped=weights)

    def allocate(self, batch: int, context: int) -> tuple[Tensor, Tensor]:
        """Have llama.cpp make a context, and touch its cache."""
        import llama_cpp
        import torch

        settings = llama_cpp.llama_context_default_params()
        kind = _GGML_TYPES[self._options.dtype]
        for name, value in {
            "n_ctx": batch * context,
            "n_batch": batch * context,
            "n_ubatch": self._options.ubatch,
            "n_seq_max": batch,
            "n_threads": self._options.threads,
            "n_threads_batch": self._options.threads,
            "flash_attn_type": self._flash_attention(),
            "type_k": kind,
            "type_v": kind,
            "no_perf": True,
        }.items():
            setattr(settings, name, value)
        said = _listen()
        self._context = llama_cpp.llama_init_from_model(self._model, settings)
        if not self._context:
            why = f": {said[-1]}" if said else ""
            raise SessionError(f"llama.cpp makes no context for {batch} × {context}{why}")
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), True)
        self._tokens_in = llama_cpp.llama_batch_init(batch * context, 0, 1)
        self._positions = [0] * batch
        self._next = torch.zeros(batch, dtype=torch.int64)
        self._scores = torch.zeros(batch, self._config.vocab_size)
        return self._next, self._scores

    def start(self, tokens: Tensor, lengths: Tensor) -> None:
        """Read each row's prompt as a sequence of its own, without padding."""
        import llama_cpp

        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), False)
        self._positions = [0] * self.batch
        wanted = lengths.tolist()
        self._feed([row[:length] for row, length in zip(tokens.tolist(), wanted, strict=True)])

    def step(self) -> None:
        """Feed each row its last token."""
        self._feed([[token] for token in self._next.tolist()])

    def release(self) -> None:
        """Free the context."""
        import llama_cpp

        if self._context:
            llama_cpp.llama_batch_free(self._tokens_in)
            llama_cpp.llama_free(self._context)
            self._context = None

    def unload(self) -> None:
        """Free the model."""
        import llama_cpp

        llama_cpp.llama_model_free(self._model)
        self._model = None

    def _flash_attention(self) -> int:
        """Return llama.cpp's number for what was asked: -1 leaves it the choice."""
        asked = self._options.flash_attention
        if asked == "auto" and self._options.dtype == "float32":
            return 0
        return {"auto": -1, "off": 0, "on": 1}[asked]

    def _feed(self, rows: Sequence[Sequence[int]]) -> None:
        """Compute the rows' next tokens; keep the logits behind the last one of each."""
        import llama_cpp

        batch, at, last = self._tokens_in, 0, []
        for row, tokens in enumerate(rows):
            for token in tokens:
                batch.token[at] = token
                batch.pos[at] = self._positions[row]
                batch.n_seq_id[at] = 1
                batch.seq_id[at][0] = row
                batch.logits[at] = False
                self._positions[row] += 1
                at += 1
            batch.logits[at - 1] = True
            last.append(at - 1)
        batch.n_tokens = at
        said = _listen()
        if status := llama_cpp.llama_decode(self._context, batch):
            why = f": {said[-1]}" if said else ""
            raise SessionError(f"llama_decode returned {status}{why}")
        for row, index in enumerate(last):
            logits = llama_cpp.llama_get_logits_ith(self._context, index)
            self._scores[row] = _seen(logits, self._config.vocab_size)
        self._next.copy_(self._scores.argmax(-1))


def _seen(pointer: Any, count: int) -> Tensor:
    """View floats at an address as a tensor."""
    import torch

    floats = ctypes.cast(pointer, ctypes.POINTER(ctypes.c_float * count)).contents
    return torch.frombuffer(floats, dtype=torch.float32)


def _listen() -> list[str]:
    """Keep llama.cpp off stderr; return a list in which its errors will be from here on."""
    import llama_cpp

    _errors.clear()
    if not _callbacks:

        def hear(level: int, text: bytes, _: Any) -> None:
            if level == _ERROR:
                _errors.append(text.decode(errors="replace").strip())

        # Kept, since llama.cpp calls it as long as the process lives.
        _callbacks.append(llama_cpp.llama_log_callback(hear))
    llama_cpp.llama_log_set(_callbacks[0], ctypes.c_void_p(0))
    return _errors


_errors: list[str] = []
_callbacks: list[Any] = []
