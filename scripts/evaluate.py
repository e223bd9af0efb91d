"""Scores of a run, on one process or several: the command `pointseg evaluate`.

torchrun --nproc_per_node=4 scripts/evaluate.py runs/pointnet2_ssg_latentgnn
"""

import sys

from pointseg.cli import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
