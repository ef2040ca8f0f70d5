"""The backend keeps the contract: one test for each of the harness's checks."""

import pytest
from harness_example_delay.backend import DelayedBackend, DelayedOptions

from harness.testing import checks_for, examine


@pytest.mark.parametrize("check", checks_for(DelayedBackend()))
def test_delayed_keeps_the_contract(check: str) -> None:
    # A short delay: the checks decode some thousand tokens, and none looks at the speed.
    finding = examine(check, DelayedBackend(), DelayedOptions(delay_ms=0.2, threads=1))
    assert finding.ok, finding.detail
