"""A suite's text, so that an error in a value can name the line that it stands on."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Source"]

_NAME = r"""(?:"[^"]*"|'[^']*'|[\w-]+)"""
_DOTTED = rf"{_NAME}(?:\s*\.\s*{_NAME})*"
_HEADER = re.compile(rf"\s*(\[\[?)\s*({_DOTTED})\s*\]")
_KEY = re.compile(rf"\s*({_DOTTED})\s*=")


@dataclass(frozen=True)
class Source:
    """Where a suite came from."""

    path: str
    text: str

    def at(self, loc: Sequence[str | int]) -> str:
        """Return `file:line: key` for a location such as ("backend", 1, "threads")."""
        key = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in loc).lstrip(".")
        line = _line_of(self.text, loc)
        place = f"{self.path}:{line}" if line else self.path
        return f"{place}: {key}" if key else place


def _line_of(text: str, loc: Sequence[str | int]) -> int | None:
    """Find the line of a key, or of the nearest table around it; None where the text has neither.

    A TOML parser keeps no lines: this reads headers and keys as people write them.
    """
    if not loc:
        return None
    names = [p for p in loc if isinstance(p, str)]
    wanted = ".".join(names)
    index = loc[1] if len(loc) > 1 and isinstance(loc[1], int) else None
    table, entry = "", -1
    best, best_line = "", None
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            path = table = _joined(header[2])
            entry += header[1] == "[[" and table == names[0]
        elif key := _KEY.match(line):
            path = f"{table}.{_joined(key[1])}".lstrip(".")
        else:
            continue
        in_entry = index is None or not table or entry == index
        if in_entry and f"{wanted}.".startswith(f"{path}.") and len(path) > len(best):
            best, best_line = path, number
    return best_line


def _joined(dotted: str) -> str:
    """Return `backend.dtype` for that, with or without quotes and blanks."""
    return ".".join(name.strip("\"'") for name in re.findall(_NAME, dotted))
