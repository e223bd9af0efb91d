"""What the scripts/bench_*.py programs share; not part of the installed packages."""
