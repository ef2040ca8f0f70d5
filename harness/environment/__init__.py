"""What this machine and its software are, and what differs between two runs.

Everything is read, nothing is measured, and torch is never imported. What cannot be read is
`{"absent": reason}`. It must not know what the figures of a run are.
"""

from harness.environment.differences import Difference, differences
from harness.environment.fingerprint import fingerprint

__all__ = ["Difference", "differences", "fingerprint"]
