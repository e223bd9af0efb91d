#!/usr/bin/env bash
# Makes the network that ships with the package, from nothing: rooms, store, training, scores, file. Needs one GPU.
#   scripts/train_pretrained.sh [FOLDER]       FOLDER (default: data/rooms-1513) takes the rooms and their store
# The file goes to pointseg/prediction/pretrained/; its card beside it names what else was measured.
set -euo pipefail
cd "$(dirname "$0")/.."
rooms=${1:-data/rooms-1513}
pointseg=${POINTSEG:-.venv/bin/pointseg}
$pointseg synth "$rooms" --set rooms-1513
$pointseg preprocess "$rooms" "$rooms/store"
$pointseg train --config configs/pretrained.yaml --out runs/pretrained-1 --set data.store="$rooms/store"
$pointseg train --config configs/pretrained_refine.yaml --out runs/pretrained-2 --set data.store="$rooms/store" \
  --set train.init=runs/pretrained-1
$pointseg evaluate runs/pretrained-2
${PYTHON:-.venv/bin/python} scripts/pack_pretrained.py runs/pretrained-2
