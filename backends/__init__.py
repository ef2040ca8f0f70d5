"""Ways to execute the reference model: one file each, registered by one entry-point line."""
