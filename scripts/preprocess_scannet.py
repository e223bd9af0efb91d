"""ScanNet scans to a store: the command `pointseg preprocess`.

python scripts/preprocess_scannet.py SCANNET STORE
"""

import sys

from pointseg.cli import main

if __name__ == "__main__":
    sys.exit(main(["preprocess", *sys.argv[1:]]))
