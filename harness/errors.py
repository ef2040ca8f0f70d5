"""Every error the harness raises on purpose, drawn once.

    HarnessError                  exit 1   something went wrong that is not the user's input
    ├── InputError                exit 2   the user can mend it: a file, a key, a value, an option
    │   ├── SpecError                      a suite does not say what a suite says
    │   ├── ModelError                     weights, configuration or tokenizer cannot be used
    │   ├── PluginError                    a plugin is missing, shadowed or broken
    │   ├── StoreError                     a store or run cannot be read or written
    │   └── UnavailableError               this machine lacks what was asked for
    └── SessionError              exit 3   a backend broke the contract while it ran

An error is raised where its cause is known and caught once, in the CLI, which prints `str(error)`.
"""

import difflib
from collections.abc import Iterable

__all__ = [
    "HarnessError",
    "InputError",
    "ModelError",
    "PluginError",
    "SessionError",
    "SpecError",
    "StoreError",
    "UnavailableError",
    "did_you_mean",
]


class HarnessError(Exception):
    """One clear line: where, what, what was expected, what to do.

    Attributes:
        what: What is wrong, naming the offending value.
        where: File with line and key, plugin or path; None where there is no place to name.
        expected: What would have been accepted.
        remedy: What to do about it, a command where there is one.
    """

    exit_code = 1

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        expected: str | None = None,
        remedy: str | None = None,
    ) -> None:
        self.what = what
        self.where = where
        self.expected = expected
        self.remedy = remedy
        super().__init__(str(self))

    def __str__(self) -> str:
        line = f"{self.where}: {self.what}" if self.where else self.what
        if self.expected:
            line += f"; expected {self.expected}"
        if self.remedy:
            line += f"; {self.remedy}"
        return " ".join(line.split())


class InputError(HarnessError):
    """The user can mend it."""

    exit_code = 2


class SpecError(InputError):
    """A suite, or a `--set` on top of it, is wrong."""


class ModelError(InputError):
    """A model's weights, configuration or tokenizer cannot be used."""


class PluginError(InputError):
    """A plugin is missing, shadowed or does not import."""


class StoreError(InputError):
    """A store or a run in it cannot be read or written."""


class UnavailableError(InputError):
    """This machine or installation lacks what was asked for."""


class SessionError(HarnessError):
    """A backend broke the contract while it ran."""

    exit_code = 3


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `did you mean "x"? ` (trailing blank) for the nearest known name, else ""."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f'did you mean "{near[0]}"? ' if near else ""
