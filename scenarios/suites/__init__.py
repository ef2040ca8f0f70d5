"""Suites that ship with the harness: every *.toml here is found by its name."""
