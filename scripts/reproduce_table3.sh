#!/usr/bin/env bash
# The paper's Table 3 from scans to page. SCANS is ScanNet's folder (the one with scans/ and scannetv2-labels.combined.tsv).
#   scripts/reproduce_table3.sh SCANS [OPTIONS of pointseg reproduce table3]
set -euo pipefail
cd "$(dirname "$0")/.."
scans=${1:?usage: scripts/reproduce_table3.sh SCANS [OPTIONS]}
shift
.venv/bin/pointseg preprocess "$scans" data/store
.venv/bin/pointseg reproduce table3 --store data/store "$@"
