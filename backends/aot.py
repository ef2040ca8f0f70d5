"""AOTInductor: the reference decoder compiled once into a package, which workers load untraced.

A package holds code for one configuration, precision and shape, and no weights: they are bound when
it is loaded, so that one package serves every model of those shapes. It is kept by content: the
decoder's source, the versions and the processor are part of its name. torch is imported inside
functions, as in every plugin.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from harness.cache import cache_folder
from harness.contracts import Availability, Backend, BackendOptions
from harness.devices import torch_compiles_on, torch_runs_on
from harness.errors import SessionError, UnavailableError
from harness.model.session import DecoderSession

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from harness.model import Model
    from harness.model.decoder import Decoder, State

__all__ = ["AotBackend", "AotOptions", "AotSession"]

_CHANGING = ("tokens", "positions", "logits", "rotations", "first_slots")
"""The state's tensors that the decoder's functions use beside the cache, by name."""
_FEWEST_POSITIONS = 3
"""A number of positions that varies has two values at least, and the least that may vary is 2."""
_Package = Callable[["list[Tensor]", "list[Tensor]", "list[Tensor]"], Any]
"""From what varies in size, the tensors of `_CHANGING`, and the cache layer by layer."""


class AotOptions(BackendOptions):
    """What is decided when the package is built."""

    linear: Literal["auto", "plain", "native"] = "auto"
    """How matrices are multiplied: by what inductor makes of it (plain), or by our own AVX-512
    product; by default ours where it can be had and nothing else autotunes."""
    attention: Literal["auto", "sdpa", "native"] = "auto"
    """How a step looks at its cache on a CPU: by PyTorch's attention, or by our own, which reads no
    further than a row's position; by default ours where `linear` is."""
    compiled: bool = True
    """Whether the exported graph is compiled and packaged; otherwise PyTorch runs it as it is."""
    max_autotune: bool = False
    """Try several kernels for each matrix product, inductor's C++ templates among them."""


class AotBackend(Backend):
    """Loads compiled packages, building what the cache lacks."""

    summary = "AOTInductor package, built once and loaded without tracing"
    Options = AotOptions
    trial: ClassVar = {"compiled": False}

    def availability(self, device: str) -> Availability:
        """As PyTorch; only to build a package that the cache lacks takes a C++ compiler."""
        return torch_runs_on(device)

    def load(self, model: Model, device: str, options: AotOptions) -> AotSession:
        """Bring the weights to the device.

        Raises:
            UnavailableError: where the device, or what `linear` asks for, is not to be had here.
        """
        import torch

        from harness.model.attention import choose_attention
        from harness.model.decoder import Decoder
        from harness.model.linear import choose_layout

        can = self.availability(device)
        if not can.ok:
            raise UnavailableError(f"aot: {can.reason}", remedy=can.remedy)
        torch.set_num_threads(options.threads)
        dtype = getattr(torch, options.dtype)
        has_own_products = options.max_autotune or not options.compiled
        on = torch.device(device)
        layout, because = choose_layout(
            options.linear,
            dtype,
            on,
            "aot",
            best="plain" if has_own_products else "native",
        )
        attention = choose_attention(options.attention, layout, dtype, on, "aot")
        decoder = Decoder.from_model(model, dtype, device, layout=layout, attention=attention)
        return AotSession(decoder, options, because)


class AotSession(DecoderSession):
    """A decoder's weights, bound to the packages of the shape that was prepared."""

    spare_positions = 1

    def __init__(self, decoder: Decoder, options: AotOptions, because: str) -> None:
        super().__init__(decoder, {"linear_because": because})
        self._options = options
        self._step: _Package | None = None
        self._read: _Package | None = None
        self._slots: Sequence[Tensor] = ()

    def prepare(self, batch: int, context: int) -> None:
        """Allocate, and load both packages, building what is not in the cache.

        Raises:
            UnavailableError: where a package has to be built and there is no C++ compiler.
        """
        self._slots = ()
        self._step = self._read = None
        super().prepare(batch, max(context, _FEWEST_POSITIONS))
        self._context = context
        state = self.prepared()
        self._slots = state.slots()
        if not self._options.compiled:
            self._step = self._exported("step").module()
            self._read = self._exported("read_prompts").module()
            return
        built: dict[str, float] = {}
        self._step = self._package("step", built)
        self._read = self._package("read_prompts", built)
        self._facts["built_s"] = built

    def read_prompts(self, state: State, tokens: Tensor, lengths: Tensor) -> None:
        """Run the package, which takes prompts of any length from 2."""
        import torch

        from harness.model.decoder import forget_behind

        batch, longest = tokens.shape
        length = max(longest, 2)
        padded = torch.zeros(batch, length, dtype=torch.int64)
        padded[:, :longest] = tokens
        self._run(self._read, [padded, lengths], state.cache.unbind())
        forget_behind(state, lengths, length)

    def step(self, state: State) -> None:
        """Run the package for the positions in use."""
        self._run(self._step, [state.columns[: state.span]], self._slots)

    def fixed_step(self) -> None:
        """Return none: what the compiler made calls no operations that could be looked at."""

    def close(self) -> None:
        """Unload the packages too."""
        self._step = self._read = None
        self._slots = ()
        super().close()

    def _run(
        self, package: _Package | None, varying: list[Tensor], caches: Sequence[Tensor]
    ) -> None:
        assert package is not None
        state = self.prepared()
        package(varying, [getattr(state, name) for name in _CHANGING], list(caches))

    def _exported(self, which: str) -> torch.export.ExportedProgram:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch's own, about its own code
            state = self.prepared()
            caches = self._slots if which == "step" else state.cache.unbind()
            positions = state.context - self.spare_positions
            return _export(which, self.loaded(), state, caches, positions)

    def _package(self, which: str, built: dict[str, float]) -> _Package:
        """Load one package with this session's weights."""
        from torch._C._aoti import AOTIModelPackageLoader

        decoder = self.loaded()
        path = self._path(which)
        if not path.exists():
            start = time.perf_counter()
            self._build(which, path)
            built[which] = round(time.perf_counter() - start, 3)
        # One runner, called by one thread: nothing to wait for and nothing to lock.
        loader = AOTIModelPackageLoader(str(path), "model", True, 1, -1)
        named = decoder.named_buffers(remove_duplicate=False)  # a tied head has two names
        weights = {f"decoder.{name}": buffer for name, buffer in named}
        wanted = loader.get_constant_fqns()
        if missing := set(wanted) - set(weights):
            raise SessionError(f"the package wants weights that there are none of: {missing}")
        loader.load_constants({name: weights[name] for name in wanted}, False, False, True)

        def run(varying: list[Tensor], rest: list[Tensor], caches: list[Tensor]) -> None:
            loader.boxed_run([*varying, *rest, *caches])

        return run

    def _path(self, which: str) -> Path:
        """Return where the package is, or will be: by all that its code depends on."""
        import torch

        from harness.model import decoder as source
        from harness.model import linear, native, rope

        decoder, state, options = self.loaded(), self.prepared(), self._options
        identity = {
            "config": dataclasses.asdict(decoder.config),
            "shape": (state.batch, state.context, str(decoder.dtype), str(decoder.device)),
            "options": options.model_dump(),
            "chosen": (decoder.layout, decoder.attention),  # where an option says "auto"
            "torch": torch.__version__,
            "processor": sorted(torch.cpu.get_capabilities().items()),
            "source": [inspect.getsource(m) for m in (source, linear, native, rope)],
            "built_by": Path(__file__).read_text(),
        }
        digest = hashlib.sha256(repr(identity).encode()).hexdigest()[:16]
        return cache_folder("aot", digest) / f"{which}.pt2"

    def _build(self, which: str, path: Path) -> None:
        """Export one function and compile it into a package."""
        import torch
        from torch._inductor import aoti_compile_and_package

        can = torch_compiles_on(self._options.device)
        if not can.ok:
            raise UnavailableError(f"aot: {can.reason}", remedy=can.remedy)
        exported = self._exported(which)
        configs = {
            "aot_inductor.package_constants_in_so": False,
            "always_keep_tensor_constants": True,
            "max_autotune": self._options.max_autotune,
        }
        # Built aside and renamed: two workers may build at once, and neither loads half a file.
        with (
            tempfile.TemporaryDirectory(dir=path.parent) as folder,
            torch.inference_mode(),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            made = aoti_compile_and_package(
                exported, package_path=os.fspath(Path(folder) / path.name), inductor_configs=configs
            )
            Path(made).replace(path)


def _export(
    which: str, decoder: Decoder, state: State, caches: Sequence[Tensor], context: int
) -> torch.export.ExportedProgram:
    """Return the graph of `step` or `read_prompts`, for any number of positions."""
    import torch
    from torch.export import Dim

    from harness.model.decoder import Span, State, read_prompts, step_within

    class Whole(torch.nn.Module):
        """The function as a module, whose arguments are the tensors in order."""

        def __init__(self) -> None:
            super().__init__()
            self.decoder = decoder

        def forward(self, varying: list[Tensor], rest: list[Tensor], caches: list[Tensor]) -> None:
            named = dict(zip(_CHANGING, rest, strict=True))
            there = State(cache=caches[0], columns=varying[0], shared_span=Span(), **named)
            if which == "step":
                step_within(self.decoder, there, varying[0], caches)
            else:
                read_prompts(self.decoder, there, varying[0], varying[1], caches)

    span = min(8, context)
    positions = Dim("positions", min=2, max=context)
    varying, shapes = [state.columns[:span]], [{0: positions}]
    if which != "step":
        tokens = torch.zeros(state.batch, span, dtype=torch.int64)
        varying, shapes = [tokens, torch.full((state.batch,), span)], [{1: positions}, {}]
    rest = [getattr(state, name) for name in _CHANGING]
    static: Mapping[str, Any] = {"rest": [{}] * len(rest), "caches": [{}] * len(caches)}
    return torch.export.export(
        Whole(),
        (varying, rest, list(caches)),
        dynamic_shapes={"varying": shapes, **static},
    )
