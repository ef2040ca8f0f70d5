"""Where a case's time and memory go, and what made it grow: profiles, and the difference of two.

    kinds        the profilers by name, and which of them need a process of their own
    families     operator names to the families people think in: GEMM, attention, norm, copy, …
    record       what a profile holds, as types
    operators    torch.profiler's events to rows that add up to a step's time
    lines        which line of Python called an operator
    collect      which calls of a session are profiled, and in which way
    onnxruntime  an engine's own profile as the same rows
    compiler, memory, counters, counted, pyspy
                 what else is looked at: torch.compile, allocations, processor, kernel, stacks
    average      several processes as one profile
    stored       profiles in a run's folder
    difference   base and candidate, row by row, with intervals; what explains a change
    causes       from rows that changed to a sentence
    noticed      what else differs: graph breaks, page faults
    words        where the time goes in a line
    stacks, flame
                 sampled stacks, and pictures of them

Nothing here publishes a figure: a profiled process is never timed for one.
"""
