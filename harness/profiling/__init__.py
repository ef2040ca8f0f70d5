"""Where a case's time goes, and what made it grow: profiles, and the difference of two.

    families     operator names to the families people think in: GEMM, attention, norm, copy, …
    record       what a profile holds, as types
    operators    torch.profiler's events to rows that add up to a step's time
    lines        which line of Python called an operator
    collect      which calls of a session are profiled, and in which way
    difference   base and candidate, row by row, with intervals; what explains a change

Nothing here publishes a figure: a profiled process is never timed for one.
"""
