"""From samples to figures: quantiles, intervals, steady state, when to stop, what to publish.

Functions over plain numbers. Nothing here knows a plugin, a clock or a file, and pandas stays out.
The unit of every interval is a fresh process, because samples within a process are not independent.
"""
