"""Suites by name: those that installed packages ship, or a file of the user's."""

from __future__ import annotations

from pathlib import Path

from harness.errors import SpecError, did_you_mean
from harness.plugins import suite_folders

__all__ = ["shipped", "suite_path"]


def shipped() -> dict[str, Path]:
    """Return the suites that packages ship, by name."""
    return {path.stem: path for folder in suite_folders() for path in sorted(folder.glob("*.toml"))}


def suite_path(name: str) -> Path:
    """Return the file of a suite: a path where there is such a file, else one that ships.

    Raises:
        SpecError: where it is neither.
    """
    path = Path(name)
    if path.is_file() or path.suffix == ".toml" or len(path.parts) > 1:
        return path
    known = shipped()
    if name not in known:
        raise SpecError(
            f'no suite is called "{name}"',
            expected=f"a .toml file or one of {', '.join(known)}",
            remedy=did_you_mean(name, known).rstrip() or None,
        )
    return known[name]
