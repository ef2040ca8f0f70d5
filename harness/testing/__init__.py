"""What a plugin's author tests with: fakes with declared delays, and the conformance suite.

    from harness.testing import conformance
    assert all(finding.ok for finding in conformance(MyBackend()))

It knows no plugin. `harness.testing.cheats` holds backends that break the contract, one way each.
"""

from harness.testing.clock import Clock, FakeClock, FakeMeter, WallClock
from harness.testing.conformance import (
    Finding,
    Subject,
    checks_for,
    conformance,
    examine,
    iter_conformance,
    sampler_conformance,
    scenario_conformance,
)
from harness.testing.fakes import (
    Delays,
    FakeBackend,
    FakeSession,
    FakeStream,
    fake_continuation,
)

__all__ = [
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
]
