#!/usr/bin/env bash
# Everything that needs a GPU, in one go and without a network: builds both extensions for the GPU at hand, runs the
# operator tests on it, the kernels under compute-sanitizer, then the benchmarks; ends with their table.
#   scripts/gpu_check.sh [FOLDER]      FOLDER (default: benchmarks) receives ops_gpu.json
# PYTHON names the interpreter; it needs PyTorch with CUDA, pytest, hypothesis and ninja. STAGES (default: "tests
# sanitizer benchmarks") names what to do after building. Exits with 1 if anything failed.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-benchmarks}
mkdir -p "$folder"

fail() {
  echo "gpu_check: $*" >&2
  exit 2
}

python=${PYTHON:-}
if [[ -z $python ]]; then
  for candidate in .venv/bin/python python3; do
    if "$candidate" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
      python=$candidate
      break
    fi
  done
fi
[[ -n $python ]] || fail "neither .venv/bin/python nor python3 has a PyTorch that sees a CUDA device; set PYTHON"
"$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' || fail "$python: PyTorch sees no CUDA device"
export PATH="$PATH:/usr/local/cuda/bin"
command -v nvcc >/dev/null || fail "nvcc is not installed"
"$python" -c 'import torch; p = torch.cuda.get_device_properties(0); print(p.name, "| torch", torch.__version__)'
nvcc --version | tail -n 1

echo "== build"
TORCH_CUDA_ARCH_LIST=${TORCH_CUDA_ARCH_LIST:-$("$python" -c 'import torch
print("%d.%d" % torch.cuda.get_device_capability())')}
export TORCH_CUDA_ARCH_LIST POINTNET2_OPS_CUDA=1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" setup.py --quiet egg_info --egg-base "$work" build --build-base "$work/build" --build-lib "$work/lib"
export PYTHONPATH="$work/lib${PYTHONPATH:+:$PYTHONPATH}"
"$python" -c "import pointnet2_ops as p; assert p.CUDA_LIBRARY and p.__file__.startswith('$work'), p.__file__"

status=0
stages=" ${STAGES:-tests sanitizer benchmarks} "

# tests/conftest.py is left out (it needs all of pointseg's requirements), and so is what tests compilers.
operator_tests() {
  "$python" -m pytest -q -p no:cacheprovider --confcutdir=tests/ops tests/ops -k cuda \
    --ignore=tests/ops/test_build.py --ignore-glob='tests/ops/test_cuda_*'
}

sanitizer() {
  if ! command -v compute-sanitizer >/dev/null; then
    echo "compute-sanitizer is not installed: the kernels run without it"
    "$python" -m benchmarks.gpu_smoke
    return
  fi
  local tool
  for tool in memcheck racecheck synccheck; do
    echo "-- $tool"
    PYTORCH_NO_CUDA_MEMORY_CACHING=1 timeout 240 compute-sanitizer --tool "$tool" --error-exitcode 1 \
      "$python" -m benchmarks.gpu_smoke || status=1
  done
}

if [[ $stages == *" tests "* ]]; then
  echo "== operator tests"
  operator_tests || status=1
fi
if [[ $stages == *" sanitizer "* ]]; then
  echo "== compute-sanitizer"
  sanitizer || status=1
fi
if [[ $stages == *" benchmarks "* ]]; then
  echo "== benchmarks"
  "$python" scripts/bench_gpu_ops.py --output "$folder/ops_gpu.json" || status=1
fi
[[ $status == 0 ]] || echo "gpu_check: something above failed" >&2
exit "$status"
