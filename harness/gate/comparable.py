"""What makes two figures incomparable: machine, weights, precision, what was asked, what counts.

Each reason has a key, and `--allow-different KEY` takes it on record. It must not know any figure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

from pydantic import BaseModel, ConfigDict

from harness.environment.differences import differences
from harness.environment.facts import is_absent
from harness.store.record import CaseRecord, RunRecord

__all__ = ["Difference", "case_differences", "is_allowed", "run_differences"]


class Difference(BaseModel):
    """One thing that is not the same on both sides and can change a figure."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    """What `--allow-different` takes: `cpu.model`, `precision`, `scenario_options.new_tokens`."""
    base: Any
    cand: Any
    why: str
    """What it can change."""
    allowed: bool = False
    """Whether the user said that it may differ."""

    def words(self) -> str:
        """Return `cpu.model: EPYC 7B13 -> EPYC 9B14 (the processor)`."""
        return f"{self.key}: {_shown(self.base)} -> {_shown(self.cand)} ({self.why})"


def run_differences(
    base: RunRecord, cand: RunRecord, allowed: Sequence[str] = ()
) -> list[Difference]:
    """Return what differs between the machines and the software of two runs, and matters."""
    found = [
        Difference(key=d.key, base=d.a, cand=d.b, why=d.why)
        for d in differences(base.environment, cand.environment)
        if d.matters
    ]
    if base.seed != cand.seed:
        found.append(
            Difference(key="seed", base=base.seed, cand=cand.seed, why="the prompts themselves")
        )
    return [_marked(d, allowed) for d in found]


def case_differences(
    base: CaseRecord, cand: CaseRecord, allowed: Sequence[str] = ()
) -> list[Difference]:
    """Return what differs in what one case was asked, and in what its figures mean."""
    return [_marked(d, allowed) for d in _case(base, cand)]


def is_allowed(key: str, allowed: Sequence[str]) -> bool:
    """Whether a key is one of those that may differ: itself, a topic it lies in, or a pattern."""
    return any(key == a or key.startswith(f"{a}.") or fnmatchcase(key, a) for a in allowed)


def _case(base: CaseRecord, cand: CaseRecord) -> Iterator[Difference]:
    if base.model_digest != cand.model_digest:
        yield Difference(
            key="model", base=base.model_digest, cand=cand.model_digest, why="the weights"
        )
    if base.scenario != cand.scenario or base.scenario_version != cand.scenario_version:
        yield Difference(
            key="scenario_version",
            base=f"{base.scenario} {base.scenario_version}",
            cand=f"{cand.scenario} {cand.scenario_version}",
            why="how the figures are defined",
        )
    if base.backend != cand.backend:
        yield Difference(key="backend", base=base.backend, cand=cand.backend, why="the backend")
    yield from _options("scenario_options", base.scenario_options, cand.scenario_options, "work")
    options = dict(base.backend_options), dict(cand.backend_options)
    one, other = (o.pop("dtype", None) for o in options)
    if one != other:
        yield Difference(key="precision", base=one, cand=other, why="bytes read and kernels")
    yield from _options("backend_options", *options, "how it is executed")


def _options(kind: str, base: dict[str, Any], cand: dict[str, Any], why: str) -> Iterator[Any]:
    for key in sorted(base.keys() | cand.keys()):
        # An option that one side does not know is a new one, at whatever was the case before.
        if key in base and key in cand and base[key] != cand[key]:
            yield Difference(key=f"{kind}.{key}", base=base[key], cand=cand[key], why=why)


def _marked(difference: Difference, allowed: Sequence[str]) -> Difference:
    return difference.model_copy(update={"allowed": is_allowed(difference.key, allowed)})


def _shown(value: object) -> str:
    if is_absent(value):
        return f"unknown ({value['absent']})"  # type: ignore[index] # is_absent: a mapping
    text = str(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
