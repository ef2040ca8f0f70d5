"""Suites: a declaration in TOML becomes typed data, and every error names file, line and key.

It must not know which backends and scenarios exist: their options stay as they are written and are
checked by `harness.engine.plan` against the plugins.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from harness.errors import SpecError, did_you_mean
from harness.settings import lay_over, parse_setting
from harness.source import Source

__all__ = [
    "BackendSpec",
    "GateSpec",
    "ModelSpec",
    "ProfileSpec",
    "ProfilerName",
    "RunSpec",
    "ScenarioSpec",
    "Source",
    "Suite",
    "Sweep",
    "TelemetrySpec",
    "parse_duration",
    "parse_setting",
    "read_suite",
    "spec_error",
]

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)?")
_SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}


def parse_duration(value: object) -> float:
    """Return seconds from `90`, `"90s"`, `"10m"` or `"1h"`.

    Raises:
        ValueError: where it is none of these or not above zero.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    else:
        match = _DURATION.fullmatch(str(value).strip())
        if not match:
            raise ValueError("a duration such as 90, 90s, 10m or 1h")
        seconds = float(match[1]) * _SECONDS[match[2]]
    if not 0 < seconds < math.inf:
        raise ValueError("a duration above zero, such as 90s or 10m")
    return seconds


Seconds = Annotated[float, BeforeValidator(parse_duration)]


class _Spec(BaseModel):
    # Strict: TOML has types, and `rounds = true` is a mistake, not one round.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ModelSpec(_Spec):
    """`[[model]]`: which weights."""

    name: str = Field(min_length=1)
    """A preset, a folder, a .gguf file or hf://org/name."""
    label: str | None = None
    """Short name in case ids; by default the preset or the path's last part."""
    seed: int = Field(default=0, ge=0)
    """Seed of a preset's weights."""


class BackendSpec(BaseModel):
    """`[[backend]]`: one way to execute it; further keys are the backend's own options."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    name: str = Field(min_length=1)
    """As `harness list backends` shows it."""
    label: str | None = None
    """Short name in case ids."""


class ScenarioSpec(BaseModel):
    """`[[scenario]]`: one kind of measurement; further keys are the scenario's own options."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    name: str = Field(min_length=1)
    """As `harness list scenarios` shows it."""
    label: str | None = None
    """Short name in case ids."""
    rounds: int | None = Field(default=None, ge=1)
    """Fewer rounds than the run's, for exact quantities."""


class RunSpec(_Spec):
    """`[run]`: how much to measure."""

    rounds: int = Field(default=3, ge=1, le=1000)
    """Fresh processes per case, interleaved over all cases."""
    budget: Seconds | None = None
    """For the whole run; shares max_seconds out among the cases."""
    max_seconds: Seconds = 10.0
    """Sampling time per point and round."""
    min_samples: int = Field(default=5, ge=2)
    """Iterations at least, steady ones, per point and round."""
    max_samples: int = Field(default=200, ge=2)
    """Iterations at most, per point and round."""
    target: float = Field(default=0.02, gt=0, lt=1)
    """Relative half-width of the primary metric at which sampling stops."""
    time_limit: Seconds = 600.0
    """After which a worker counts as hung."""
    seed: int = Field(default=0, ge=0)
    """Of prompts and of the order of cases."""

    @model_validator(mode="after")
    def _samples_fit(self) -> Self:
        if self.max_samples < self.min_samples:
            raise ValueError(f"max_samples not below min_samples ({self.min_samples})")
        return self


class GateSpec(_Spec):
    """`[gate]`: what counts as a change."""

    margin: float = Field(default=0.03, gt=0, lt=1)
    """Relative change that matters."""
    margins: dict[str, Annotated[float, Field(gt=0, lt=1)]] = Field(default_factory=dict)
    """Margins of their own, by metric."""


class TelemetrySpec(_Spec):
    """`[telemetry]`: what is read of the machine beside the run, and what a disturbance makes."""

    enabled: bool = True
    """Whether anything is read at all."""
    hz: float = Field(default=20.0, ge=1, le=200)
    """Readings per second of what is read often."""
    samplers: list[str] | None = None
    """By name, as `harness list samplers` shows them; by default all that work here."""
    idle_seconds: float = Field(default=2.0, ge=0, le=60)
    """For how long the idle machine is watched first, where power is measured."""
    on_disturbance: Literal["flag", "discard", "retry"] = "flag"
    """Say so; or leave disturbed samples out of the figures; or repeat the round."""
    keep: float = Field(default=0.5, gt=0, le=1)
    """With discard: the share of a point's iterations that is kept, however disturbed."""
    retries: int = Field(default=1, ge=1, le=10)
    """With retry: how often a round is repeated at most, within the budget."""


ProfilerName = Literal[
    "torch", "roofline", "py-spy", "native", "trace", "counters", "onnx", "compile", "code",
    "memory", "nsys",
]  # fmt: skip


class ProfileSpec(_Spec):
    """`[profile]`: extra, untimed rounds that say where time goes; no figure comes from them."""

    kinds: list[ProfilerName] = Field(default_factory=list)
    """Profilers, as `harness profile --with` takes them; none where empty."""
    case: str | None = None
    """Pattern for the ids of cases; by default the first case of each model and backend setting."""
    most: int = Field(default=6, ge=1, le=1000)
    """Cases at most."""
    seconds: Seconds = 1.0
    """How long py-spy samples each."""


Axis = Annotated[list[Any], Field(min_length=1)]


class Sweep(BaseModel):
    """`[sweep]`: `"backend.dtype" = ["float32", "bfloat16"]`; lists cross-multiply."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, Axis]

    include: list[dict[str, Any]] = Field(default_factory=list)
    """Points beside the product; each needs model, backend and scenario only where several are."""
    exclude: list[dict[str, Any]] = Field(default_factory=list)
    """Points of the product to leave out: all that match every key given."""

    @model_validator(mode="before")
    @classmethod
    def _dotted(cls, data: Any) -> Any:
        # `backend.dtype = […]` without quotes is a table to TOML; what is meant is clear.
        if not isinstance(data, dict):
            return data
        flat: dict[str, Any] = {}
        for key, value in data.items():
            nested = isinstance(value, dict) and key not in cls.model_fields
            flat |= {f"{key}.{k}": v for k, v in value.items()} if nested else {key: value}
        return flat

    def axes(self) -> dict[str, list[Any]]:
        """Return the swept keys with their values."""
        return dict(self.__pydantic_extra__)


class Suite(_Spec):
    """Models × backends × scenarios × sweep."""

    name: str = Field(default="suite", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    description: str = ""
    model: list[ModelSpec] = Field(min_length=1)
    backend: list[BackendSpec] = Field(min_length=1)
    scenario: list[ScenarioSpec] = Field(min_length=1)
    sweep: Sweep = Sweep()
    run: RunSpec = RunSpec()
    gate: GateSpec = GateSpec()
    telemetry: TelemetrySpec = TelemetrySpec()
    profile: ProfileSpec = ProfileSpec()


def read_suite(path: Path, settings: Mapping[str, Any] | None = None) -> tuple[Suite, Source]:
    """Read a suite file, with `--set` values laid over it.

    Raises:
        SpecError: where the file is missing, is not TOML or does not hold a suite.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise SpecError(
            f"cannot be read: {why}",
            where=str(path),
            remedy="harness list suites shows those that ship with the harness",
        ) from error
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also a number or brackets without end
        raise SpecError(f"is not TOML: {error}", where=str(path)) from error
    source = Source(str(path), text)
    data.setdefault("name", re.sub(r"[^A-Za-z0-9_.-]", "-", path.stem).lstrip("_.-") or "suite")
    for key, value in (settings or {}).items():
        lay_over(data, key, value)
    try:
        return Suite.model_validate(data), source
    except ValidationError as error:
        raise spec_error(error, source, (), _fields_at) from error


def spec_error(
    error: ValidationError,
    source: Source,
    prefix: Sequence[str | int],
    fields_at: Callable[[Sequence[str | int]], Iterable[str]],
) -> SpecError:
    """Turn pydantic's first complaint into one line with file, line, key, value and remedy."""
    errors = error.errors()
    # A key that is missing may be there under a wrong name: that is the better complaint.
    unknown = [e for e in errors if e["type"] == "extra_forbidden"]
    first = unknown[0] if unknown and errors[0]["type"] == "missing" else errors[0]
    loc = [*prefix, *first["loc"]]
    if first["type"] == "extra_forbidden":
        known = sorted(fields_at(loc[:-1]))
        return SpecError(
            "unknown key",
            where=source.at(loc),
            expected=f"one of {', '.join(known)}" if known else None,
            remedy=did_you_mean(str(loc[-1]), known).rstrip() or None,
        )
    if first["type"] == "missing":
        return SpecError("is missing", where=source.at(loc))
    return SpecError(_shown(first["input"]), where=source.at(loc), expected=_expected(first, loc))


def _expected(error: ErrorDetails, loc: Sequence[str | int]) -> str:
    """Say what would have been accepted, in the words of a suite file."""
    if error["type"] == "list_type" and loc in (["model"], ["backend"], ["scenario"]):
        return f"[[{loc[0]}]], with two brackets"
    if error["type"] in ("model_type", "dict_type"):
        return "a table"
    if error["type"] == "too_short":
        return f"at least {error['ctx']['min_length']} of them"
    message = error["msg"].removeprefix("Value error, ")
    message = message.replace("a valid integer", "an integer").replace("a valid ", "a ")
    return re.sub(r"^(Input|String|Value) should (be |have )?", "", message)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _fields_at(loc: Sequence[str | int]) -> Iterator[str]:
    models: dict[tuple[str, ...], type[BaseModel]] = {
        (): Suite,
        ("model",): ModelSpec,
        ("run",): RunSpec,
        ("gate",): GateSpec,
        ("telemetry",): TelemetrySpec,
        ("profile",): ProfileSpec,
        ("sweep",): Sweep,
    }
    model = models.get(tuple(p for p in loc if isinstance(p, str)))
    yield from model.model_fields if model else ()
