"""Suites that ship with this plugin."""
