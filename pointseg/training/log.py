"""metrics.jsonl and TensorBoard: the same numbers under the same names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pointseg.distributed import Distributed
from pointseg.rundir import RunDirectory


@contextmanager
def logging(run: RunDirectory, first_step: int, context: Distributed) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yields a function that writes one line to metrics.jsonl and its numbers to TensorBoard."""
    if not context.is_main:
        yield lambda line: None
        return
    from torch.utils.tensorboard import SummaryWriter  # takes a second to import

    run.drop_metrics_after(first_step)
    with SummaryWriter(str(run.tensorboard), purge_step=first_step + 1) as writer:

        def log(line: dict[str, Any]) -> None:
            run.append_metrics(line)
            for name, value in _flatten(line):
                if name != "step":
                    writer.add_scalar(name, value, line["step"])

        yield log


def _flatten(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}/")
        elif isinstance(value, (int, float)):
            yield prefix + name, value
