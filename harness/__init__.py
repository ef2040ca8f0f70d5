"""Benchmark LLM inference: tokens checked first, spread and ceiling beside every figure."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.store import Run as Run
    from harness.store import load_run as load_run

__all__ = ["Run", "__version__", "load_run"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Lazy, so that `import harness` stays quick: the store brings pandas.
    if name in ("Run", "load_run"):
        from harness import store

        return getattr(store, name)
    raise AttributeError(f"module 'harness' has no attribute {name!r}")
