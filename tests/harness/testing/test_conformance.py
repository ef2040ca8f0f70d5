"""The conformance suite: finds each way to break the contract, and nothing in an honest backend."""

import threading
import time
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from harness.contracts import Availability, Backend, StepSession
from harness.plugins import find
from harness.testing import checks_for, conformance, examine
from harness.testing.cheat import Cheat
from harness.testing.cheats import CHEATS, LeaksMemory
from harness.testing.conformance import CHECKS
from harness.testing.falsified import Wrapped

OPTIONS = {"threads": 1}


def finding(cheat: type[Cheat], check: str) -> Any:
    backend = cheat()
    return examine(check, backend, backend.Options.model_validate(OPTIONS))


@pytest.fixture(autouse=True)
def _what_leaks_is_given_back() -> Iterator[None]:
    yield
    LeaksMemory.give_back()


@pytest.mark.parametrize("name", CHEATS)
def test_each_cheat_is_found_by_the_check_made_for_it(name: str) -> None:
    found = finding(CHEATS[name], CHEATS[name].found_by)
    assert not found.ok
    assert not found.detail.startswith("raised")


HONEST_ABOUT = {
    "host-copy-left-out": "tokens are correct",
    "result-before-computed": "feed is honoured",
    "first-token-cached": "tokens are correct",
    "forgets-reset": "tokens are correct",
    "stale-cache-row": "tokens are correct",
    "rows-swapped": "tokens are correct",
    "ignores-feed": "tokens are correct",
    "passes-the-end": "tokens are correct",
    "leaks-memory": "tokens are correct",
    "wrong-rotary-sign": "rows are independent",
    "off-by-one-layer": "rows are independent",
}


@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_breaks_one_thing_and_not_all(name: str) -> None:
    found = finding(CHEATS[name], HONEST_ABOUT[name])
    assert found.ok, found.detail


class _Wobbly(Wrapped):
    def logits(self) -> Tensor:
        return super().logits() + torch.rand(1) * 0.01


class _NotACopy(Wrapped):
    out: Tensor | None = None

    def logits(self) -> Tensor:
        new = super().logits()
        self.out = new if self.out is None else self.out
        return self.out.copy_(new)

    def decode(self) -> Tensor:
        token = super().decode()
        self.logits()
        return token


class _Narrow(Wrapped):
    def decode(self) -> Tensor:
        return super().decode().to(torch.int32)


class _FirstShapeOnly(Wrapped):
    def prepare(self, batch: int, context: int) -> None:
        if not self.batch:
            super().prepare(batch, context)


class _OffByOneAtTheEnd(Wrapped):
    def prepare(self, batch: int, context: int) -> None:
        super().prepare(batch, context - 1 if context == 16 else context)


class _ClosesOnce(Wrapped):
    open = True

    def close(self) -> None:
        if not self.open:
            raise RuntimeError("closed already")
        self.open = False
        super().close()


class _Busy(Wrapped):
    """Its results are there; a thread of it goes on and on."""

    def synchronize(self) -> None:
        super().synchronize()
        end = time.perf_counter() + 0.15
        threading.Thread(
            target=lambda: [0 for _ in iter(lambda: time.perf_counter() < end, False)]
        ).start()


class _KeepsWeights(Wrapped):
    kept: ClassVar[list[Tensor]] = []

    def close(self) -> None:
        self.kept.append(torch.ones(140_000))
        super().close()


class _NotANumber(Wrapped):
    def logits(self) -> Tensor:
        return super().logits() * float("nan")


class _OtherTokens(Wrapped):
    """Its logits are right, the tokens it returns are not their best."""

    def prefill(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        return (super().prefill(tokens, lengths) + 1) % 512


class _Unspeakable(Wrapped):
    def facts(self) -> Any:
        return {"device": torch.device("cpu")}


class _PadLooksBack(Wrapped):
    """Shorter prompts of a ragged batch are continued behind their padding."""

    def prefill(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        return super().prefill(tokens, torch.full_like(lengths, tokens.shape[1]))


@pytest.mark.parametrize(
    ("session", "check", "detail"),
    [
        (_Wobbly, "repeats itself", "logits differ"),
        (_NotACopy, "outputs have their shapes", "not a copy"),
        (_Narrow, "outputs have their shapes", "int32"),
        (_FirstShapeOnly, "prepare again serves the new shape", "SessionError"),
        (_OffByOneAtTheEnd, "cache's end is right", "SessionError"),
        (_ClosesOnce, "close twice is harmless", "closed already"),
        (_Busy, "synchronize is honest", "CPU time were burnt"),
        (_KeepsWeights, "close returns memory", "leaves 0.5 MiB behind"),
        (_NotANumber, "tokens are correct", "nan"),
        (_OtherTokens, "tokens are correct", "token"),
        (_Unspeakable, "facts are JSON", "not JSON"),
        (_PadLooksBack, "ragged prompts are right", "the reference has"),
    ],
)
def test_each_check_can_fail(session: type[Wrapped], check: str, detail: str) -> None:
    cheat = type("Faulty", (Cheat,), {"name": "faulty", "summary": "", "session": session})
    found = finding(cheat, check)
    _KeepsWeights.kept.clear()
    assert not found.ok
    assert detail in found.detail


def test_a_token_outside_of_the_vocabulary_is_found() -> None:
    class Far(Wrapped):
        def prefill(self, tokens: Tensor, lengths: Tensor) -> Tensor:
            return super().prefill(tokens, lengths) + 10_000

    cheat = type("Faulty", (Cheat,), {"name": "faulty", "summary": "", "session": Far})
    assert "not in the vocabulary of 512" in finding(cheat, "tokens are correct").detail


class _NoReason(Cheat):
    name, summary = "no-reason", ""

    def availability(self, device: str) -> Availability:
        return Availability(ok=device == "cpu")


class _TakesAnything(Cheat):
    name, summary = "takes-anything", ""

    class Options(find(Backend, "eager").Options):  # type: ignore[misc]
        model_config: ClassVar[dict[str, Any]] = {"extra": "ignore"}


class _DoesNotLoad(Cheat):
    name, summary = "does-not-load", ""

    def load(self, model: Any, device: str, options: Any) -> StepSession:
        raise MemoryError("no room")


@pytest.mark.parametrize(
    ("cheat", "check", "detail"),
    [
        (_NoReason, "availability is answered", "no without a reason"),
        (_TakesAnything, "options are checked", "unknown option"),
        (_DoesNotLoad, "tokens are correct", "raised MemoryError: no room"),
    ],
)
def test_what_a_backend_does_before_it_runs_is_checked_too(
    cheat: type[Cheat], check: str, detail: str
) -> None:
    assert detail in finding(cheat, check).detail


def test_every_check_is_run_and_none_raises() -> None:
    found = conformance(_DoesNotLoad())
    assert [f.name for f in found] == list(CHECKS) == list(checks_for(_DoesNotLoad()))
    assert [f.name for f in found if f.ok] == ["availability is answered", "options are checked"]
