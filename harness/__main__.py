"""`python -m harness`: the console script, safe from a folder that has our packages' names."""

import sys
from pathlib import Path

if not sys.flags.safe_path and sys.path and Path(sys.path[0] or ".").resolve() == Path.cwd():
    # `-m` puts the working folder first; a user's own reports/ there would become ours.
    del sys.path[0]

from harness.cli.app import main

if __name__ == "__main__":
    main()
