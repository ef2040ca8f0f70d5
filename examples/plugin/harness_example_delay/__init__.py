"""A backend for inference-harness: see `harness_example_delay.backend`."""
