#!/usr/bin/env bash
# Gathers in FOLDER what a machine with a GPU, PyTorch and the packages named below, but no network, lacks for
# scripts/gpu_check.sh: wheels of the locked requirements and a small synthetic store. Needs `make env` and a network.
#   scripts/gpu_kit.sh FOLDER [SCENES]
# PYTHON_VERSION (3.12) is that machine's. PyTorch, NumPy and the like are never fetched: the machine has its own.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:?usage: scripts/gpu_kit.sh FOLDER [SCENES]}
scenes=${2:-12}
python=${PYTHON:-.venv/bin/python}
# Not on that machine: settings, command line, PLY files, a test helper of PyTorch's, and what the second one needs.
missing=(msgspec tyro docstring_parser typeguard plyfile expecttest)
# Older ones than 77 do not read pyproject.toml; used for building alone.
missing_to_build=(setuptools)

mkdir -p "$folder"
fetch() {  # fetch SUBFOLDER PACKAGE...
  local target="$folder/$1" pins=() platforms=() minor name
  shift
  for name in "$@"; do
    pins+=("$(grep -ix "$name==.*" requirements.lock)")
  done
  for minor in 17 24 27 28 31 34; do platforms+=(--platform "manylinux_2_${minor}_x86_64"); done
  rm -rf "$target"
  "$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --dest "$target" \
    --implementation cp --python-version "${PYTHON_VERSION:-3.12}" "${platforms[@]}" --platform manylinux2014_x86_64 \
    "${pins[@]}"
}
fetch wheels "${missing[@]}"
fetch build_wheels "${missing_to_build[@]}"

scans=$(mktemp -d)
trap 'rm -rf "$scans"' EXIT
"$python" -m pointseg synth "$scans" --scenes "$scenes"
rm -rf "$folder/store"
"$python" -m pointseg preprocess "$scans" "$folder/store"

# Should the compilers there fail: both libraries from here, for an H100 or H200.
rm -rf "$folder/lib"
if command -v nvcc >/dev/null; then
  work=$(mktemp -d)
  trap 'rm -rf "$scans" "$work"' EXIT
  POINTNET2_OPS_CUDA=1 TORCH_CUDA_ARCH_LIST=9.0 "$python" setup.py --quiet egg_info --egg-base "$work" \
    build --build-base "$work/objects" --build-lib "$work/lib" > "$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
  mkdir "$folder/lib"
  cp "$work"/lib/pointnet2_ops/*.so "$folder/lib"
  "$python" -c 'import subprocess, sys; from pathlib import Path; from benchmarks import original
subprocess.run(original.compile_command(Path(sys.argv[1]) / original.LIBRARY, "sm_90"), check=True)' "$folder/lib"
fi
[[ $(du -sm "$folder" | cut -f1) -lt 50 ]] || { echo "gpu_kit: $folder has 50 MB or more: fewer scenes" >&2; exit 1; }
du -sh "$folder"
