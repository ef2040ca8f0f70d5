"""The public names are exactly these: adding or losing one is a decision, not an accident."""

import importlib

import pytest

PUBLIC = {
    "harness": {"Run", "__version__", "load_run"},
    "harness.charts": {"DARK", "GREY", "LIGHT", "chart", "charts"},
    "harness.contracts": {
        "Availability",
        "Backend",
        "BackendOptions",
        "Chart",
        "Held",
        "Lab",
        "MemoryMeter",
        "Observation",
        "Options",
        "Point",
        "Quantity",
        "Report",
        "Request",
        "Sampler",
        "Scenario",
        "Session",
        "Site",
        "Span",
        "StepSession",
        "StreamSession",
        "TokenEvent",
        "Transcript",
        "Watched",
    },
    "harness.errors": {
        "HarnessError",
        "InputError",
        "ModelError",
        "PluginError",
        "SessionError",
        "SpecError",
        "StoreError",
        "UnavailableError",
        "did_you_mean",
    },
    "harness.metrics": {"Ceiling", "Direction", "Metric", "Statistic"},
    "harness.model": {"Model", "ModelConfig", "PRESETS", "RopeScaling", "Tokenizer", "open_model"},
    "harness.pictures": {"marked", "png", "svg"},
    "harness.reading": {"Reading"},
    "harness.theme": {"DARK", "GREY", "LIGHT", "THEMES", "Style", "Theme", "powers"},
    "harness.testing": {
        "Clock",
        "Delays",
        "FakeBackend",
        "FakeClock",
        "FakeMeter",
        "FakeSession",
        "FakeStream",
        "Finding",
        "Subject",
        "WallClock",
        "checks_for",
        "conformance",
        "examine",
        "fake_continuation",
        "iter_conformance",
        "sampler_conformance",
        "scenario_conformance",
    },
}


@pytest.mark.parametrize("module", PUBLIC)
def test_the_public_names_are_exactly_those_declared(module: str) -> None:
    assert set(importlib.import_module(module).__all__) == PUBLIC[module]


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_is_there(module: str) -> None:
    loaded = importlib.import_module(module)
    assert [name for name in PUBLIC[module] if not hasattr(loaded, name)] == []


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    import harness

    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = harness.nothing
