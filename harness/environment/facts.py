"""Tables of facts: a name to the function that reads it, and `{"absent": reason}` where it cannot.

A reader takes the root of the file system, so that trees recorded on other machines can be read.
It must not know which facts there are.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["AbsentError", "Reader", "absent", "collect", "cpu_list", "is_absent", "text"]

Reader = Callable[[Path], Any]


class AbsentError(Exception):
    """A fact that this machine does not tell; the message is the reason."""


def absent(reason: str) -> dict[str, str]:
    """Return what stands where a fact is not known."""
    return {"absent": reason}


def is_absent(value: object) -> bool:
    """Whether this stands for a fact that is not known."""
    return isinstance(value, Mapping) and set(value) == {"absent"}


def collect(table: Mapping[str, Reader], root: Path) -> dict[str, Any]:
    """Return every fact of a table as JSON; one that cannot be read harms no other."""
    facts: dict[str, Any] = {}
    for name, read in table.items():
        try:
            facts[name] = read(root)
        except AbsentError as error:
            facts[name] = absent(str(error))
        except (OSError, ValueError, LookupError) as error:
            # Some other kernel's idea of a file: worth a reason, never a run.
            facts[name] = absent(f"cannot be read: {type(error).__name__}: {error}")
    return facts


def text(root: Path, path: str) -> str:
    """Return a file's text without surrounding white space.

    Raises:
        AbsentError: where it is missing, empty or may not be read.
    """
    try:
        found = (root / path).read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError as error:
        raise AbsentError(f"/{path} is not there") from error
    except OSError as error:
        raise AbsentError(f"/{path}: {error.strerror}") from error
    if not found:
        raise AbsentError(f"/{path} is empty")
    return found


def cpu_list(written: str) -> list[int]:
    """Return the CPUs of a kernel list such as `0-3,8`.

    Raises:
        ValueError: where it is not such a list.
    """
    cpus: list[int] = []
    for part in written.split(","):
        first, _, last = part.strip().partition("-")
        cpus.extend(range(int(first), int(last or first) + 1))
    return cpus
