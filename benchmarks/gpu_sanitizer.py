"""Every kernel on small shapes under compute-sanitizer's tools, one after another.

python -m benchmarks.gpu_sanitizer [--output FILE] [--seconds S]

References are computed on the CPU and PyTorch's own kernels are filtered out, so only ours are instrumented; but
initcheck has to see what PyTorch's write.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.gpu_record import Stage

ROOT = Path(__file__).resolve().parents[1]
OURS = ["--kernel-name", "kernel_substring=pointnet2"]  # the namespace of all our kernels, mangled
# memcheck sees an access beyond a tensor only if each has memory of its own; the others are faster with the cache.
TOOLS = {"memcheck": {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}, "racecheck": {}, "synccheck": {}, "initcheck": {}}


def sanitize(stage: Stage, tool: str) -> dict:
    program = shutil.which("compute-sanitizer", path=os.environ["PATH"] + ":/usr/local/cuda/bin")
    if program is None and not stage.rehearse:
        raise RuntimeError("compute-sanitizer is not installed")
    command = [program, "--tool", tool, "--error-exitcode", "9", "--report-api-errors", "no", "--print-limit", "20"]
    command += OURS if tool != "initcheck" else []
    command = [] if stage.rehearse else command
    command += [sys.executable, "-m", "benchmarks.gpu_smoke", "--device", str(stage.device)]
    environment = {**os.environ, **TOOLS[tool]}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip())
        print(line, end="", flush=True)
    status = process.wait()
    summary = [line for line in lines if re.search(r"SUMMARY|gpu_smoke:", line)]
    return {"ok": status == 0, "exit_status": status, "summary": summary, "report": lines[:120] if status else []}


def main() -> None:
    stage = Stage(__doc__, "sanitizer.json")
    for tool in list(TOOLS)[: stage.size(4, 1)]:
        stage.case(tool, lambda tool=tool: sanitize(stage, tool), needs_s=0 if stage.rehearse else 15)
    stage.finish()


if __name__ == "__main__":
    main()
