"""The sampler `host`: /proc, /sys and control groups, a few small files a tick."""
