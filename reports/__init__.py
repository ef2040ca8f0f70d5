"""Ways to show a run: one file or folder each."""
