"""Backends whose step cannot be captured as a CUDA graph, or is wrong when replayed; one way each.

They show what `harness doctor --capture` is for, and tests prove that each is found at its line:
`harness doctor --capture reads-item --plugin harness/testing/hazards.py`. Each computes the right
tokens when it is run as it stands.
"""
# ruff: noqa: ARG002  (what `disturb` does stands with its class, and it needs not all it gets)

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from harness.contracts import Availability, Backend, BackendOptions
from harness.devices import torch_runs_on
from harness.model.session import DecoderSession

if TYPE_CHECKING:
    from torch import Tensor

    from harness.model import Model
    from harness.model.decoder import Decoder, State

__all__ = ["HAZARDOUS", "Hazardous", "HazardousSession"]


class HazardousSession(DecoderSession):
    """The reference step, and then a line that does no good."""

    def __init__(self, decoder: Decoder, backend: Hazardous) -> None:
        super().__init__(decoder, {})
        self._backend = backend
        self.calls = 0
        self.seen: list[Tensor] = []

    def prepare(self, batch: int, context: int) -> None:
        """Allocate what the lines work on, some of it where it should not be."""
        import torch

        super().prepare(batch, context)
        self.on_host = torch.zeros(batch, dtype=torch.int64)
        self.factor = torch.tensor(1.0)
        self.bias = torch.zeros(batch, dtype=torch.int64, device=self.prepared().tokens.device)

    def step(self, state: State) -> None:
        """Make the step."""
        super().step(state)
        self.calls += 1
        self._backend.disturb(self, state)

    def feed(self, tokens: Tensor) -> None:
        """Take tokens."""
        self._backend.feed(self, tokens)

    def feed_in_place(self, tokens: Tensor) -> None:
        """Take tokens as one should."""
        super().feed(tokens)


class Hazardous(Backend):
    """Loads the reference decoder; `disturb` is called at the end of its step."""

    name: ClassVar[str]
    kind: ClassVar[str]
    """Of the hazard, as `doctor --capture` must name it."""
    found_at: ClassVar[str] = "# here"
    """What the line holds that it must point to."""
    Options = BackendOptions

    def availability(self, device: str) -> Availability:
        """As PyTorch."""
        return torch_runs_on(device)

    def load(self, model: Model, device: str, options: Any) -> HazardousSession:
        """Bring the weights to the device."""
        import torch

        from harness.model.decoder import Decoder

        torch.set_num_threads(options.threads)
        dtype = getattr(torch, options.dtype)
        return HazardousSession(Decoder.from_model(model, dtype, device), self)

    @abstractmethod
    def disturb(self, session: HazardousSession, state: State) -> None:
        """Do what no step should."""

    def feed(self, session: HazardousSession, tokens: Tensor) -> None:
        """Take tokens as one should."""
        session.feed_in_place(tokens)


class ReadsItem(Hazardous):
    """Checks a value on the host."""

    name, kind = "reads-item", "waits"
    summary = "hazard: .item() in the step"

    def disturb(self, session: HazardousSession, state: State) -> None:
        if state.tokens.sum().item() < 0:  # here
            raise ArithmeticError


class BranchesOnData(Hazardous):
    """Asks a tensor which way to go."""

    name, kind = "branches-on-data", "waits"
    summary = "hazard: an `if` over a tensor"

    def disturb(self, session: HazardousSession, state: State) -> None:
        if (state.tokens < 0).any():  # here
            state.logits.zero_()


class MakesAList(Hazardous):
    """Takes the tokens to the host, as a scheduler might."""

    name, kind = "makes-a-list", "waits"
    summary = "hazard: .tolist() in the step"

    def disturb(self, session: HazardousSession, state: State) -> None:
        session.calls += len(state.tokens.tolist())  # here


class PrintsATensor(Hazardous):
    """Left a line from debugging."""

    name, kind = "prints-a-tensor", "waits"
    summary = "hazard: a tensor in a message"

    def disturb(self, session: HazardousSession, state: State) -> None:
        session.message = f"{state.tokens}"  # type: ignore[attr-defined]  # here


class Synchronizes(Hazardous):
    """Waits for the device, to be on the safe side."""

    name, kind = "synchronizes", "waits"
    summary = "hazard: torch.cuda.synchronize() in the step"

    def disturb(self, session: HazardousSession, state: State) -> None:
        import torch

        if state.tokens.is_cuda:
            torch.cuda.synchronize()  # here


class MasksByBool(Hazardous):
    """Looks only at the logits that are large."""

    name, kind = "masks-by-bool", "shape"
    summary = "hazard: a boolean mask"

    def disturb(self, session: HazardousSession, state: State) -> None:
        large = state.logits[state.logits > 0]  # here
        state.logits.add_(large.sum() * 0)


class Nonzero(Hazardous):
    """Asks which logits are large."""

    name, kind = "nonzero", "shape"
    summary = "hazard: nonzero()"

    def disturb(self, session: HazardousSession, state: State) -> None:
        places = (state.logits > 0).nonzero()  # here
        state.tokens.add_(places.sum() * 0)


class MakesATensor(Hazardous):
    """Makes a constant anew in each step."""

    name, kind = "makes-a-tensor", "from-host"
    summary = "hazard: torch.tensor in the step"

    def disturb(self, session: HazardousSession, state: State) -> None:
        import torch

        state.tokens.add_(torch.tensor([0], device=state.tokens.device))  # here


class Draws(Hazardous):
    """Samples with noise."""

    name, kind = "draws", "random"
    summary = "hazard: random numbers"

    def disturb(self, session: HazardousSession, state: State) -> None:
        import torch

        noise = torch.rand_like(state.logits)  # here
        state.logits.add_(noise * 0)


class GrowsAList(Hazardous):
    """Remembers every token."""

    name, kind = "grows-a-list", "kept"
    summary = "hazard: a list of tensors that grows"

    def disturb(self, session: HazardousSession, state: State) -> None:
        session.seen.append(state.tokens.clone())  # here


class KeepsItsOutput(Hazardous):
    """Hands out what the step made, rather than a copy in the state."""

    name, kind = "keeps-its-output", "kept"
    summary = "hazard: memory of the step is kept"

    def disturb(self, session: HazardousSession, state: State) -> None:
        session.output = state.logits.softmax(-1)  # type: ignore[attr-defined]  # here


class ReplacesATensor(Hazardous):
    """Counts in a tensor that is another one each time."""

    name, kind = "replaces-a-tensor", "address"
    summary = "hazard: a tensor attribute is replaced"

    def disturb(self, session: HazardousSession, state: State) -> None:
        session.bias = session.bias + 1  # here


class ReplacesItsInput(Hazardous):
    """Takes fed tokens as they come; the graph reads those it was captured with."""

    name, kind = "replaces-its-input", "address"
    summary = "hazard: feed() replaces the tensor that the step reads"
    found_at = "F.embedding(state.tokens"

    def disturb(self, session: HazardousSession, state: State) -> None:
        pass

    def feed(self, session: HazardousSession, tokens: Tensor) -> None:
        state = session.prepared()
        state.tokens = tokens.to(state.tokens.device, copy=True)


class GrowsItsCache(Hazardous):
    """Appends to a cache with torch.cat."""

    name, kind = "grows-its-cache", "argument"
    summary = "hazard: a cache that grows by torch.cat"

    def disturb(self, session: HazardousSession, state: State) -> None:
        import torch

        session.bias = torch.cat([session.bias, state.tokens])  # here


class CountsInAShape(Hazardous):
    """Works on as many columns as there were steps."""

    name, kind = "counts-in-a-shape", "argument"
    summary = "hazard: a Python counter in a shape"

    def disturb(self, session: HazardousSession, state: State) -> None:
        state.logits[:, : session.calls].mul_(1)  # here


class CountsInAValue(Hazardous):
    """Feeds a Python number that changes into an operation."""

    name, kind = "counts-in-a-value", "argument"
    summary = "hazard: a Python counter as a number"

    def disturb(self, session: HazardousSession, state: State) -> None:
        session.bias.fill_(session.calls)  # here


class EverySecondStep(Hazardous):
    """Does something more in each second step."""

    name, kind = "every-second-step", "branches"
    summary = "hazard: an `if` on the host"

    def disturb(self, session: HazardousSession, state: State) -> None:
        if session.calls % 2:
            state.logits.mul_(1)  # here


class HostTensor(Hazardous):
    """Forgot device= when it made a tensor."""

    name, kind = "host-tensor", "host-tensor"
    summary = "hazard: a tensor on the CPU"

    def disturb(self, session: HazardousSession, state: State) -> None:
        state.tokens.add_(session.on_host)  # here


class FrozenScalar(Hazardous):
    """Scales by a number that lies in a tensor on the host: read once, when captured."""

    name, kind = "frozen-scalar", "host-tensor"
    summary = "hazard: a scalar tensor on the CPU"

    def disturb(self, session: HazardousSession, state: State) -> None:
        state.logits.mul_(session.factor)  # here


class PinsMemory(Hazardous):
    """Pins what it copies, as one should, but in each step."""

    name, kind = "pins-memory", "pinned"
    summary = "hazard: pin_memory() in the step"

    def disturb(self, session: HazardousSession, state: State) -> None:
        pinned = session.on_host.pin_memory()  # here
        state.tokens.add_(pinned.to(state.tokens.device, non_blocking=True))


class CopiesToHost(Hazardous):
    """Shows the tokens to the host in each step."""

    name, kind = "copies-to-host", "copy"
    summary = "hazard: a copy to the CPU"

    def disturb(self, session: HazardousSession, state: State) -> None:
        session.on_host.copy_(state.tokens)  # here


HAZARDOUS: dict[str, type[Hazardous]] = {
    hazardous.name: hazardous
    for hazardous in (
        BranchesOnData,
        CopiesToHost,
        CountsInAShape,
        CountsInAValue,
        Draws,
        EverySecondStep,
        FrozenScalar,
        GrowsAList,
        GrowsItsCache,
        HostTensor,
        KeepsItsOutput,
        MakesAList,
        MakesATensor,
        MasksByBool,
        Nonzero,
        PinsMemory,
        PrintsATensor,
        ReadsItem,
        ReplacesATensor,
        ReplacesItsInput,
        Synchronizes,
    )
}
"""Every hazard by its name."""
