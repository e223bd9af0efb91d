#!/usr/bin/env bash
# Everything that needs a GPU, without a network: builds both libraries for the card at hand, then tests and measures.
#   scripts/gpu_check.sh [--kit FOLDER] [--out FOLDER] [--seconds S] [--rehearse] [STAGE[=SECONDS] ...]
# Stages and what they do: scripts/gpu_check.py. The kit is made by scripts/gpu_kit.sh; without --kit everything that
# pointseg needs must be installed. PYTHON names the interpreter; it needs PyTorch with CUDA and ninja.
# --rehearse runs the same code on the CPU with tiny shapes.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
  echo "gpu_check: $*" >&2
  exit 2
}

kit="" work=build/gpu_check rehearse="" arguments=()
while [[ $# -gt 0 ]]; do
  case $1 in
    --kit) kit=$(realpath "${2:?--kit needs a folder}"); shift ;;
    --work) work=${2:?--work needs a folder}; shift ;;
    --rehearse) rehearse=1; arguments+=("$1") ;;
    *) arguments+=("$1") ;;
  esac
  shift
done
mkdir -p "$work"
work=$(realpath "$work")

sees='import sys, torch; sys.exit(not (len(sys.argv) > 1 or torch.cuda.is_available()))'
python=${PYTHON:-}
if [[ -z $python ]]; then
  for candidate in .venv/bin/python python3; do
    if "$candidate" -c "$sees" ${rehearse:+any} 2>/dev/null; then
      python=$candidate
      break
    fi
  done
fi
[[ -n $python ]] || fail "neither .venv/bin/python nor python3 has a PyTorch that sees a CUDA device; set PYTHON"
"$python" -c "$sees" ${rehearse:+any} || fail "$python: PyTorch sees no CUDA device"

# Folders on PYTHONPATH instead of a virtual environment: one made from another environment does not see its packages.
install() {  # install SUBFOLDER_OF_KIT TARGET
  rm -rf "$2"
  "$python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-compile --target "$2" \
    "$kit/$1"/*.whl
}
path=$PWD
if [[ -n $kit ]]; then
  [[ -d $kit/wheels && -d $kit/store ]] || fail "$kit: expected a kit made by scripts/gpu_kit.sh (wheels/, store/)"
  install wheels "$work/site"
  install build_wheels "$work/build_site"
  path="$path:$work/site"
fi
export PYTHONPATH="$work/lib:$path${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
exec "$python" scripts/gpu_check.py --work "$work" ${kit:+--kit "$kit"} ${arguments[@]+"${arguments[@]}"}
