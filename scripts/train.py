"""Training, on one process or several: the command `pointseg train`.

torchrun --nproc_per_node=4 scripts/train.py --config configs/pointnet2_ssg_latentgnn.yaml
"""

import sys

from pointseg.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
