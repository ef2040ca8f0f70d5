"""What the machine did beside a run: sensors read in a process of their own, cut by phase.

    loop, process   the sampler process: deadlines, ticks, readings as JSON lines
    beside          the harness's end of it: start, follow a worker, mark, take, stop
    lines           the JSON lines, written and read
    nvml, rapl      samplers of GPUs and of CPU energy; nvml_door is the one door to NVML
    energy          an energy with its bound; counter_energy, power_energy how it is found
    host/           the sampler of /proc, /sys and control groups
    cut, summary    a series cut at a phase's edges, with its error; what stands in run.json
    doubts          which spells disturbed the measurement, and what that makes of its samples

Nothing that the sampler process imports may import torch, NumPy or pandas.
"""
