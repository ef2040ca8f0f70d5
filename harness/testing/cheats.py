"""Backends that break the contract, one way each, on top of an honest one.

They show what the checks are for, and tests prove that each is found. Names from `CHEATS` also run
in a suite: `harness run SUITE --plugin harness/testing/cheats.py --backend first-token-cached`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.testing.altered import AlteredModel
from harness.testing.cheat import Cheat
from harness.testing.falsified import (
    Deaf,
    Haunted,
    InBackground,
    Kept,
    LastRowHaunted,
    Lazy,
    PastTheEnd,
    RemembersFirst,
    Swapped,
)

if TYPE_CHECKING:
    from torch import Tensor

    from harness.model import Model

__all__ = [
    "CHEATS",
    "FirstTokenCached",
    "ForgetsReset",
    "HostCopyLeftOut",
    "IgnoresFeed",
    "LeaksMemory",
    "OffByOneLayer",
    "PassesTheEnd",
    "ResultBeforeComputed",
    "RowsSwapped",
    "StaleCacheRow",
    "WrongRotarySign",
]


class HostCopyLeftOut(Cheat):
    """Computes when results are read, which other backends do before `synchronize` returns."""

    name = "host-copy-left-out"
    summary = "cheats: leaves the work to whoever reads the tokens"
    found_by = "synchronize is honest"
    session = Lazy


class ResultBeforeComputed(Cheat):
    """Returns a tensor before a thread has filled it, and does not wait for it in `synchronize`."""

    name = "result-before-computed"
    summary = "cheats: returns tokens before they are computed"
    found_by = "tokens are there after synchronize"
    session = InBackground


class FirstTokenCached(Cheat):
    """Its time to first token is nothing: the token is another prompt's."""

    name = "first-token-cached"
    summary = "cheats: answers every prompt with a cached first token"
    found_by = "first token follows from the prompt"
    session = RemembersFirst


class ForgetsReset(Cheat):
    """Takes every request for the continuation of the one before."""

    name = "forgets-reset"
    summary = "cheats: keeps the cache of the request before"
    found_by = "reset is complete"
    session = Haunted


class StaleCacheRow(Cheat):
    """One row sees cache entries of an earlier, longer request beyond its own position."""

    name = "stale-cache-row"
    summary = "cheats: one row sees a longer earlier request"
    found_by = "reset is complete"
    session = LastRowHaunted


class RowsSwapped(Cheat):
    """Answers come in another order than questions."""

    name = "rows-swapped"
    summary = "cheats: rows change places"
    found_by = "rows are independent"
    session = Swapped


class IgnoresFeed(Cheat):
    """Continues from its own tokens, whatever it is fed."""

    name = "ignores-feed"
    summary = "cheats: does not take the tokens it is fed"
    found_by = "feed is honoured"
    session = Deaf


class PassesTheEnd(Cheat):
    """Goes on as if nothing were wrong when the cache is full."""

    name = "passes-the-end"
    summary = "cheats: decodes past the end of its cache"
    found_by = "cache's end is right"
    session = PastTheEnd


class LeaksMemory(Cheat):
    """Never gives its memory back."""

    name = "leaks-memory"
    summary = "cheats: keeps its memory when closed"
    found_by = "close returns memory"
    session = Kept

    @staticmethod
    def give_back() -> None:
        """Close what was leaked, for a test that goes on."""
        while Kept.kept:
            Kept.kept.pop().close()


class WrongRotarySign(Cheat):
    """Rotates queries and keys the wrong way round: position m minus n becomes n minus m."""

    name = "wrong-rotary-sign"
    summary = "cheats: rotary embedding turns the wrong way"
    found_by = "tokens are correct"

    def falsified(self, model: Model) -> Model:
        """Swap the halves of each head of q and k: their rotation then has the opposite sign."""

        def tensor(name: str) -> Tensor:
            weight = model.tensor(name)
            if ".q_proj." not in name and ".k_proj." not in name:
                return weight
            halves = weight.reshape(-1, 2, model.config.head_dim // 2, *weight.shape[1:])
            return halves.flip(1).reshape(weight.shape)

        return AlteredModel(model, tensor=tensor)


class OffByOneLayer(Cheat):
    """Each layer has the weights of the next."""

    name = "off-by-one-layer"
    summary = "cheats: layers are numbered wrongly"
    found_by = "tokens are correct"

    def falsified(self, model: Model) -> Model:
        """Rotate the layers by one."""

        def tensor(name: str) -> Tensor:
            if not name.startswith("model.layers."):
                return model.tensor(name)
            _, _, layer, rest = name.split(".", 3)
            return model.tensor(f"model.layers.{(int(layer) + 1) % model.config.layers}.{rest}")

        return AlteredModel(model, tensor=tensor)


CHEATS: dict[str, type[Cheat]] = {
    cheat.name: cheat
    for cheat in (
        FirstTokenCached,
        ForgetsReset,
        HostCopyLeftOut,
        IgnoresFeed,
        LeaksMemory,
        OffByOneLayer,
        PassesTheEnd,
        ResultBeforeComputed,
        RowsSwapped,
        StaleCacheRow,
        WrongRotarySign,
    )
}
"""Every cheat by its name."""
