"""Charts: one file each, one question each, from a tidy table to a figure."""
