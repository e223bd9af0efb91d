"""The report of a run: the command `pointseg report`.

python scripts/report.py runs/pointnet2_ssg_latentgnn
"""

import sys

from pointseg.cli import main

if __name__ == "__main__":
    sys.exit(main(["report", *sys.argv[1:]]))
