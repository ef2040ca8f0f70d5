"""What all tests stand on."""

import gc
import signal

import hypothesis
import pytest

# A machine that is busy elsewhere makes any example late, and none of them wrong. What is too slow
# for the suite shows in its slowest ten.
hypothesis.settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("unhurried")

# A shell that runs tests in its background has them ignore Ctrl-C, and so would all they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module", autouse=True)
def _heap_set_aside() -> None:
    """Sessions collect garbage as they close: what a module's imports left need not be searched."""
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those who follow a page of the docs take a minute or more: begun last, all would wait."""
    items.sort(key=lambda item: not item.path.name.startswith("test_docs"))
