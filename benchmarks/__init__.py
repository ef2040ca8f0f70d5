"""The harness measured by itself, and against others."""
