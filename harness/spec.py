"""Suites: a declaration in TOML becomes typed data, and every error names file, line and key.

It must not know which backends and scenarios exist: their options stay as they are written and are
checked by `harness.engine.plan` against the plugins.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from harness.errors import SpecError, did_you_mean

__all__ = [
    "BackendSpec",
    "GateSpec",
    "ModelSpec",
    "RunSpec",
    "ScenarioSpec",
    "Source",
    "Suite",
    "Sweep",
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
    if seconds <= 0:
        raise ValueError("a duration above zero, such as 90s or 10m")
    return seconds


Seconds = Annotated[float, BeforeValidator(parse_duration)]


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


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

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = Field(min_length=1)
    """As `harness list backends` shows it."""
    label: str | None = None
    """Short name in case ids."""


class ScenarioSpec(BaseModel):
    """`[[scenario]]`: one kind of measurement; further keys are the scenario's own options."""

    model_config = ConfigDict(extra="allow", frozen=True)

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


class GateSpec(_Spec):
    """`[gate]`: what counts as a change."""

    margin: float = Field(default=0.03, gt=0, lt=1)
    """Relative change that matters."""
    margins: dict[str, float] = Field(default_factory=dict)
    """Margins of their own, by metric."""


Axis = Annotated[list[Any], Field(min_length=1)]


class Sweep(BaseModel):
    """`[sweep]`: `"backend.dtype" = ["float32", "bfloat16"]`; lists cross-multiply."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, Axis]

    include: list[dict[str, Any]] = Field(default_factory=list)
    """Points beside the product; each needs model, backend and scenario only where several are."""
    exclude: list[dict[str, Any]] = Field(default_factory=list)
    """Points of the product to leave out: all that match every key given."""

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


@dataclass(frozen=True)
class Source:
    """Where a suite came from, so that errors can point into it."""

    path: str
    text: str

    def at(self, loc: Sequence[str | int]) -> str:
        """Return `file:line: key` for a location such as ("backend", 1, "threads")."""
        key = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in loc).lstrip(".")
        line = _line_of(self.text, loc)
        return f"{self.path}:{line}: {key}" if line else f"{self.path}: {key}"


def read_suite(path: Path, settings: Mapping[str, Any] | None = None) -> tuple[Suite, Source]:
    """Read a suite file, with `--set` values laid over it.

    Raises:
        SpecError: where the file is missing, is not TOML or does not hold a suite.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise SpecError(
            f"cannot be read: {why}",
            where=str(path),
            remedy="harness list suites shows those that ship with the harness",
        ) from error
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"is not TOML: {error}", where=str(path)) from error
    source = Source(str(path), text)
    data.setdefault("name", re.sub(r"[^A-Za-z0-9_.-]", "-", path.stem).lstrip("_.-") or "suite")
    for key, value in (settings or {}).items():
        _lay_over(data, key, value)
    try:
        return Suite.model_validate(data), source
    except ValidationError as error:
        raise spec_error(error, source, (), _fields_at) from error


def parse_setting(text: str) -> tuple[str, Any]:
    """Return key and value of a `--set key=value`; values are TOML, bare words are strings.

    Raises:
        SpecError: where there is no `=` or no key.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise SpecError(f'"{text}"', where="--set", expected="key=value, e.g. run.rounds=5")
    try:
        return key.strip(), tomllib.loads(f"v = {value}")["v"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()


def spec_error(
    error: ValidationError,
    source: Source,
    prefix: Sequence[str | int],
    fields_at: Any,
) -> SpecError:
    """Turn pydantic's first complaint into one line with file, line, key, value and remedy."""
    first = error.errors()[0]
    loc = [*prefix, *first["loc"]]
    if first["type"] == "extra_forbidden":
        known = sorted(fields_at(loc[:-1]))
        return SpecError(
            "unknown key",
            where=source.at(loc),
            expected=f"one of {', '.join(known)}" if known else None,
            remedy=did_you_mean(str(loc[-1]), known).rstrip("? ") + "?" if known and did_you_mean(
                str(loc[-1]), known) else None,
        )
    if first["type"] == "missing":
        return SpecError("is missing", where=source.at(loc))
    message = first["msg"].removeprefix("Value error, ")
    expected = re.sub(r"^(Input|List|String|Value) should ", "", message)
    return SpecError(
        _shown(first["input"]), where=source.at(loc), expected=re.sub(r"^(be|have) ", "", expected)
    )


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _fields_at(loc: Sequence[str | int]) -> Iterator[str]:
    models = {
        (): Suite,
        ("model",): ModelSpec,
        ("run",): RunSpec,
        ("gate",): GateSpec,
        ("sweep",): Sweep,
    }
    model = models.get(tuple(p for p in loc if isinstance(p, str)))
    yield from model.model_fields if model else ()


def _lay_over(data: dict[str, Any], key: str, value: Any) -> None:
    """Set `run.rounds`, `backend.dtype` (all of them), `eager.dtype` (those of that name)."""
    table, _, name = key.partition(".")
    if not name:
        if isinstance(data.get(table), list | dict):
            raise SpecError(f'"{key}" is a table', where="--set", expected="table.key=value")
        data[table] = value
        return
    lists = {"model", "backend", "scenario"}
    if table in lists:
        targets = [t for t in data.get(table, []) if isinstance(t, dict)]
    else:
        targets = [
            t
            for kind in lists
            for t in data.get(kind, [])
            if isinstance(t, dict) and table in (t.get("label"), t.get("name"))
        ]
    if not targets:
        if table not in Suite.model_fields:
            known = sorted(
                {"run", "gate", *lists}
                | {str(t.get("name")) for k in lists for t in data.get(k, []) if isinstance(t, dict)}
            )
            raise SpecError(
                f'nothing in the suite is called "{table}"',
                where=f"--set {key}",
                expected=f"one of {', '.join(known)}",
            )
        targets = [data.setdefault(table, {})]
    for target in targets:
        target[name] = value


def _line_of(text: str, loc: Sequence[str | int]) -> int | None:
    """Find the line of a key by reading table headers; None where it is not in the text."""
    if not loc:
        return None
    table, index = str(loc[0]), loc[1] if len(loc) > 1 and isinstance(loc[1], int) else None
    rest = [p for p in loc[1:] if isinstance(p, str)]
    key = rest[0] if rest else None
    current, seen, header_line = "", -1, None
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[\[?\s*([^\]]+?)\s*\]\]?", line)
        if header and "=" not in line.split("]")[0]:
            current = header[1].strip("\"'")
            if current == table:
                seen += 1
                if index is None or seen == index:
                    header_line = number
            continue
        found = re.match(r"""\s*(?:"([^"]+)"|'([^']+)'|([A-Za-z0-9_.-]+))\s*=""", line)
        if not found:
            continue
        name = found[1] or found[2] or found[3]
        if current == table and (index is None or seen == index) and name == key:
            return number
        if current == "" and name == table and len(loc) == 1:
            return number
    return header_line
