"""Does a plugin keep its contract? A table of checks; each is a sentence and one function.

From the command line `harness check-plugin NAME`; as tests, one for each check:

    @pytest.mark.parametrize("check", checks_for(MyBackend()))
    def test_my_backend_keeps_the_contract(check):
        finding = examine(check, MyBackend())
        assert finding.ok, finding.detail
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from harness.contracts import Backend, Options, Sampler, Scenario
from harness.errors import HarnessError
from harness.testing import backend_checks, honesty_checks, step_checks, stream_checks
from harness.testing.sampler_checks import SAMPLER_CHECKS
from harness.testing.scenario_checks import SCENARIO_CHECKS, ScenarioSubject
from harness.testing.subject import ContractBroken, Finding, Subject

if TYPE_CHECKING:
    from harness.model import Model

__all__ = [
    "CHECKS",
    "STREAM_CHECKS",
    "Finding",
    "Subject",
    "checks_for",
    "conformance",
    "examine",
    "iter_conformance",
    "sampler_conformance",
    "scenario_conformance",
]

Check = Callable[[Subject], str]

_EVERY_BACKEND: dict[str, Check] = {
    "availability is answered": backend_checks.availability_is_answered,
    "options are checked": backend_checks.options_are_checked,
    "facts are JSON": backend_checks.facts_are_json,
}

CHECKS: dict[str, Check] = {
    **_EVERY_BACKEND,
    "outputs have their shapes": step_checks.outputs_have_their_shapes,
    "tokens are correct": step_checks.tokens_are_correct,
    "first token follows from the prompt": step_checks.first_token_follows_from_the_prompt,
    "rows are independent": step_checks.rows_are_independent,
    "ragged prompts are right": step_checks.ragged_prompts_are_right,
    "reset is complete": step_checks.reset_is_complete,
    "feed is honoured": step_checks.feed_is_honoured,
    "cache's end is right": step_checks.cache_end_is_right,
    "prepare again serves the new shape": step_checks.prepare_again_serves_the_new_shape,
    "repeats itself": step_checks.repeats_itself,
    "synchronize is honest": honesty_checks.synchronize_is_honest,
    "tokens are there after synchronize": honesty_checks.tokens_are_there_after_synchronize,
    "close twice is harmless": honesty_checks.close_twice_is_harmless,
    "close returns memory": honesty_checks.close_returns_memory,
}
"""For backends whose sessions are driven step by step."""

STREAM_CHECKS: dict[str, Check] = {
    **_EVERY_BACKEND,
    "every request gets its tokens": stream_checks.every_request_gets_its_tokens,
    "streamed tokens are correct": stream_checks.streamed_tokens_are_correct,
    "requests are independent": stream_checks.requests_are_independent,
    "end of sequence is ignored": stream_checks.end_of_sequence_is_ignored,
    "stamps are when tokens came": stream_checks.stamps_are_when_tokens_came,
    "close twice is harmless": honesty_checks.close_twice_is_harmless,
}
"""For backends that own their decode loop."""


def checks_for(backend: Backend) -> Mapping[str, Check]:
    """Return the checks that concern a backend, by name."""
    return CHECKS if backend.level == "step" else STREAM_CHECKS


def examine(
    check: str,
    backend: Backend,
    options: Any = None,
    model: Model | None = None,
    device: str = "cpu",
) -> Finding:
    """Run one check on a backend; what goes wrong is a finding, never an exception.

    Args:
        check: A name from `checks_for(backend)`.
        backend: The plugin.
        options: An instance of its `Options`; by default its defaults on `device`.
        model: With which weights; by default `open_model("tiny")`.
        device: `cpu` or `cuda`.
    """
    function = checks_for(backend)[check]
    return _find(check, function, _subject(backend, options, model, device))


def conformance(
    backend: Backend, options: Any = None, model: Model | None = None, device: str = "cpu"
) -> list[Finding]:
    """Run every check on a backend; see `examine` for the arguments."""
    return list(iter_conformance(backend, options, model, device))


def iter_conformance(
    backend: Backend, options: Any = None, model: Model | None = None, device: str = "cpu"
) -> Iterator[Finding]:
    """Run every check on a backend, yielding each finding when it is there."""
    subject = _subject(backend, options, model, device)
    for name, check in checks_for(backend).items():
        yield _find(name, check, subject)


def scenario_conformance(
    scenario: Scenario, options: Options | None = None, model: Model | None = None
) -> list[Finding]:
    """Run every check on a scenario, on fake sessions with declared delays."""
    subject = ScenarioSubject(scenario, options or scenario.Options(), _model(model).config)
    return [_find(name, check, subject) for name, check in SCENARIO_CHECKS.items()]


def sampler_conformance(sampler: Sampler) -> list[Finding]:
    """Run every check on a sampler, on this machine."""
    return [_find(name, check, sampler) for name, check in SAMPLER_CHECKS.items()]


def _subject(backend: Backend, options: Any, model: Model | None, device: str) -> Subject:
    options = options if options is not None else backend.Options.model_validate({"device": device})
    return Subject(backend, _model(model), options, device)


def _model(model: Model | None) -> Model:
    if model is not None:
        return model
    from harness.model import open_model

    return open_model("tiny")


def _find(name: str, check: Callable[[Any], str], subject: Any) -> Finding:
    try:
        return Finding(name=name, ok=True, detail=check(subject))
    except ContractBroken as broken:
        return Finding(name=name, ok=False, detail=str(broken))
    except HarnessError as error:
        return Finding(name=name, ok=False, detail=f"{type(error).__name__}: {error}")
    except Exception as error:  # noqa: BLE001 - whatever a plugin raises is what was found
        return Finding(name=name, ok=False, detail=f"raised {type(error).__name__}: {error}")
