#!/bin/sh
# Operator tests against CPU kernels built with AddressSanitizer and UndefinedBehaviorSanitizer (g++), in a folder of
# their own. The first error ends the run with the sanitizer's report and a non-zero exit code.
#   scripts/sanitize.sh [pytest arguments]
set -eu
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
PYTHON=$(command -v "$PYTHON" || { echo "sanitize: no python at $PYTHON: run \`make env\` or set PYTHON" >&2; exit 2; })
case $PYTHON in /*) ;; *) PYTHON=$PWD/$PYTHON ;; esac
export CXX="${CXX:-g++}"
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT

export POINTNET2_OPS_CUDA=0
export POINTNET2_OPS_CXXFLAGS="-O1 -g1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all"
"$PYTHON" setup.py --quiet egg_info --egg-base "$build" build --build-base "$build" --build-lib "$build/lib"

# Python is not sanitized: the runtime has to be there before it, and what Python leaves allocated is not a leak of ours.
export LD_PRELOAD="$($CXX -print-file-name=libasan.so) $($CXX -print-file-name=libubsan.so) $($CXX -print-file-name=libstdc++.so)"
export ASAN_OPTIONS=detect_leaks=0:abort_on_error=0
export UBSAN_OPTIONS=print_stacktrace=1
export PYTHONPATH="$build/lib"
"$PYTHON" -c "import pointnet2_ops; assert pointnet2_ops.__file__.startswith('$build'), pointnet2_ops.__file__"
# Registration and build tests run compilers, which need no sanitizing.
"$PYTHON" -m pytest -q -p no:cacheprovider tests/ops --ignore=tests/ops/test_build.py \
    --ignore=tests/ops/test_registration.py --ignore-glob='tests/ops/test_cuda_*' "$@"
