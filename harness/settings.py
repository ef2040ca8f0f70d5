"""`--set key=value`: a value laid over a suite's data before it is checked."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.errors import SpecError

__all__ = ["lay_over", "parse_setting"]

_ENTRIES = ("model", "backend", "scenario")
_TABLES = ("run", "gate", "sweep", "telemetry", "profile")


def parse_setting(text: str) -> tuple[str, Any]:
    """Return key and value of a `--set key=value`; values are TOML, bare words are strings.

    Raises:
        SpecError: where there is no `=` or no key.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise SpecError(f'"{text}"', where="--set", expected="key=value, e.g. run.rounds=5")
    try:
        parsed = tomllib.loads(f"v = {value}")
    except (ValueError, RecursionError):
        parsed = {}
    # Several keys: the value has a line break in it, so it was meant as text.
    return key.strip(), parsed["v"] if len(parsed) == 1 else value.strip()


def lay_over(data: dict[str, Any], key: str, value: Any) -> None:
    """Set `run.rounds`, `backend.dtype` (of all), `eager.dtype` (of those of that name or label).

    Raises:
        SpecError: where the key names nothing in the suite, or a whole table.
    """
    table, _, option = key.partition(".")
    if not option:
        if isinstance(data.get(table), list | dict):
            raise SpecError(f'"{key}" is a table', where="--set", expected="table.key=value")
        data[table] = value
        return
    entries = {kind: _tables(data.get(kind)) for kind in _ENTRIES}
    if table in _TABLES:
        targets = [(data.setdefault(table, {}), option)]
    elif table in _ENTRIES:
        targets = [(entry, option) for entry in entries[table]]
    else:
        every = [entry for kind in _ENTRIES for entry in entries[kind]]
        targets = [(entry, rest) for entry in every for rest in _after_name(entry, key)]
    if not targets:
        named = [str(entry.get("name")) for kind in _ENTRIES for entry in entries[kind]]
        raise SpecError(
            f'nothing in the suite is called "{table}"',
            where=f"--set {key}",
            expected=f"one of {', '.join(dict.fromkeys([*_TABLES, *_ENTRIES, *named]))}",
        )
    for target, rest in targets:
        # A sweep's keys are dotted themselves.
        _set(target, [rest] if table == "sweep" else rest.split("."), value, key)


def _tables(value: object) -> list[dict[str, Any]]:
    return [t for t in value if isinstance(t, dict)] if isinstance(value, list) else []


def _after_name(entry: Mapping[str, Any], key: str) -> Iterator[str]:
    """Yield `dtype` for `eager.dtype`; a name may hold dots itself, as llama-3.1-8b does."""
    for name in (entry.get("label"), entry.get("name")):
        if isinstance(name, str) and key.startswith(f"{name}.") and key != f"{name}.":
            yield key.removeprefix(f"{name}.")
            return


def _set(target: Any, path: Sequence[str], value: Any, key: str) -> None:
    """Set a value in a table, or in tables within it."""
    for name in path[:-1]:
        target = target.setdefault(name, {}) if isinstance(target, dict) else None
    if not isinstance(target, dict):
        raise SpecError("is no table in the suite", where=f"--set {key}", expected="[table]")
    target[path[-1]] = value
