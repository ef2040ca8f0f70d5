"""Did this change make it slower? Two runs to verdicts, and verdicts to what CI reads.

The error rates are `harness.stats`'s affair; here is decided what is held against what.
"""
