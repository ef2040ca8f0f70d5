"""Kinds of measurement: one file each, and the suites that ship with them."""
