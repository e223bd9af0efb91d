"""`python -m pointseg` is the command `pointseg`."""

import sys

from pointseg.cli import main

if __name__ == "__main__":
    sys.exit(main())
