"""What every backend answers before it is loaded, whatever its sessions are like."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from harness.contracts import Availability, BackendOptions
from harness.testing.subject import ContractBroken, Subject

__all__ = ["availability_is_answered", "facts_are_json", "options_are_checked"]


def availability_is_answered(subject: Subject) -> str:
    """`cpu` and `cuda` each get a yes, or a no with its reason; the device in use a yes."""
    said = []
    for device in ("cpu", "cuda"):
        answer: Any = subject.backend.availability(device)
        if not isinstance(answer, Availability):
            raise ContractBroken(f"availability({device!r}) is {answer!r}, not an Availability")
        if not answer.ok and not answer.reason:
            raise ContractBroken(f"availability({device!r}) says no without a reason")
        if device == subject.device and not answer.ok:
            raise ContractBroken(f"it is not available on {device}: {answer.reason}")
        said.append(f"{device}: {'yes' if answer.ok else answer.reason}")
    return "; ".join(said)


def options_are_checked(subject: Subject) -> str:
    """`Options` extends BackendOptions, has defaults for all, and refuses a key it lacks."""
    options: Any = subject.backend.Options
    if not issubclass(options, BackendOptions):
        raise ContractBroken(f"{options.__name__} does not derive from BackendOptions")
    try:
        options()
    except ValidationError as error:
        raise ContractBroken(f"without options given: {error.errors()[0]['msg']}") from error
    typo = "no_such_option"
    try:
        options(**{typo: 1})
    except ValidationError:
        return f"{len(options.model_fields)} options with defaults; a typo is an error"
    raise ContractBroken(f"an unknown option ({typo}) was accepted")


def facts_are_json(subject: Subject) -> str:
    """What a session wants recorded can be recorded."""
    import json

    with subject.session(1, 8) as session:
        facts = session.facts()
    try:
        json.dumps(dict(facts), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ContractBroken(f"facts() are not JSON: {error}") from error
    return ", ".join(facts) or "none"
