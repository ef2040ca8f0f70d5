"""What the machine did beside a run: GPUs through NVML, the host, energy. Errors stated."""
