"""The sampler keeps the contract: every check of the harness's."""

from harness_example_delay.sampler import DiskSampler

from harness.testing import sampler_conformance


def test_disks_keeps_the_contract() -> None:
    assert [
        finding.detail for finding in sampler_conformance(DiskSampler()) if not finding.ok
    ] == []
