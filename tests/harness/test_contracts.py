"""The contract: what a plugin author can rely on."""

import dataclasses
import inspect

import pytest
from pydantic import ValidationError

from harness import contracts
from harness.contracts import (
    Availability,
    Backend,
    BackendOptions,
    Point,
    Request,
    Scenario,
    StepSession,
    TokenEvent,
    usable_cores,
)


def test_an_option_nobody_declared_is_an_error() -> None:
    with pytest.raises(ValidationError, match="thread"):
        BackendOptions(thread=1)  # type: ignore[call-arg]


def test_options_cannot_be_changed_once_checked() -> None:
    options = BackendOptions()
    with pytest.raises(ValidationError, match="frozen"):
        options.threads = 3  # type: ignore[misc]


@pytest.mark.parametrize("given_", [{"threads": 0}, {"dtype": "int3"}, {"device": "tpu"}])
def test_options_out_of_range_are_errors(given_: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(given_))):
        BackendOptions.model_validate(given_)


def test_a_backend_uses_the_cores_it_may_use_unless_told() -> None:
    assert BackendOptions().threads == usable_cores() >= 1


def test_an_availability_is_a_yes_or_a_no_with_a_reason() -> None:
    assert Availability.yes() == Availability(ok=True)
    no = Availability.no("no GPU", "rent one")
    assert (no.ok, no.reason, no.remedy) == (False, "no GPU", "rent one")


@pytest.mark.parametrize("kind", [Availability, Point, Request, TokenEvent])
def test_what_passes_between_plugins_and_engine_cannot_be_changed(kind: type) -> None:
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]


def test_a_half_written_backend_cannot_be_made() -> None:
    class Half(Backend):
        summary = "half"

    with pytest.raises(TypeError, match="availability"):
        Half()  # type: ignore[abstract]


def test_a_step_session_has_facts_without_writing_them() -> None:
    class Session(StepSession):
        pass

    Session.__abstractmethods__ = frozenset()
    assert Session().facts() == {}  # type: ignore[abstract]


def test_a_scenario_derives_nothing_unless_it_says_so() -> None:
    assert Scenario.derive(None, {}) == {}  # type: ignore[arg-type]


def test_every_public_name_is_declared_and_documented() -> None:
    public = {
        name
        for name, value in vars(contracts).items()
        if inspect.isclass(value) and value.__module__ == contracts.__name__
    }
    assert {name for name in public if not name.startswith("_")} == set(contracts.__all__)
    assert all(getattr(contracts, name).__doc__ for name in contracts.__all__)


def test_fields_of_dataclasses_are_known_to_tools() -> None:
    assert [f.name for f in dataclasses.fields(Point)] == ["batch", "context", "label", "once"]
