"""Text of a `run.json` becomes a `RunRecord`, from every schema there ever was.

A change of schema adds one function to `MIGRATIONS`: from the version that is its key to the next.
"""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from harness.errors import StoreError
from harness.store.record import SCHEMA_VERSION, RunRecord

__all__ = ["MIGRATIONS", "dump_record", "parse_json", "to_record", "upgraded"]

Migration = Callable[[dict[str, Any]], dict[str, Any]]

MIGRATIONS: Mapping[int, Migration] = {}
"""Version to the function that brings a run of that version to the next one."""


def parse_json(text: bytes, where: str) -> dict[str, Any]:
    """Return the object in a `run.json`.

    Raises:
        StoreError: where it does not hold one.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"is not JSON: {error}", where=where, expected="a run.json") from error
    if not isinstance(data, dict):
        raise StoreError("holds no run", where=where, expected="a JSON object")
    return data


def upgraded(
    data: dict[str, Any],
    where: str,
    *,
    migrations: Mapping[int, Migration] = MIGRATIONS,
    current: int = SCHEMA_VERSION,
) -> dict[str, Any]:
    """Bring a run's data to the `current` schema, one version at a time.

    Raises:
        StoreError: where it is from a newer harness, or from a version that nothing leads on from.
    """
    version = data.get("schema_version")
    if type(version) is not int:
        raise StoreError("holds no run", where=where, expected="a schema_version")
    if version > current:
        raise StoreError(
            f"written by a newer harness (schema {version}, this one reads {current})",
            where=where,
            remedy="upgrade: pip install -U inference-harness",
        )
    while version < current:
        if version not in migrations:
            raise StoreError(f"schema {version} cannot be read any more", where=where)
        data = migrations[version](data)
        version += 1
        data["schema_version"] = version
    return data


def to_record(data: dict[str, Any], where: str) -> RunRecord:
    """Return the record that a run's data holds, whatever its version.

    Raises:
        StoreError: where it is not one, naming the first key that is wrong.
    """
    data = upgraded(data, where)
    try:
        return RunRecord.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise StoreError(f"is not a run: {key}: {first['msg']}", where=where) from error


def dump_record(record: RunRecord) -> bytes:
    """Return the text of `run.json`: valid JSON, whatever plugins put in facts."""
    return f"{_indented(plain(record.model_dump()), 0)}\n".encode()


def _indented(value: Any, depth: int) -> str:
    """Return JSON with a line for each innermost object or list: read by people, and half as long.

    A run holds thousands of small objects; one key a line would double its size.
    """
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if not any(isinstance(inner, dict | list) and inner for inner in parts):
        return json.dumps(value, allow_nan=False, separators=(", ", ": "))
    gap = "\n" + " " * (depth + 1)
    if isinstance(value, dict):
        items = [
            f"{json.dumps(key)}: {_indented(inner, depth + 1)}" for key, inner in value.items()
        ]
        return f"{{{gap}{f',{gap}'.join(items)}{gap[:-1]}}}"
    return f"[{gap}{f',{gap}'.join(_indented(inner, depth + 1) for inner in value)}{gap[:-1]}]"


def plain(value: Any) -> Any:
    """Return `value` as what JSON can hold; a number that is not finite is unknown, hence null."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, str):
        # File names and variables may hold bytes that are no text; Python marks them by surrogates.
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {plain(str(key)): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(inner) for inner in value]
    if hasattr(value, "item"):  # a NumPy or torch scalar
        return plain(value.item())
    return plain(str(value))
