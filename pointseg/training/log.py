"""metrics.jsonl and TensorBoard, which say the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, Protocol

from pointseg.distributed import Distributed
from pointseg.rundir import RunDirectory
from pointseg.training.tensorboard import LabelledScene, TensorBoard


class Log(Protocol):
    """Writes a line to metrics.jsonl and its numbers to TensorBoard; there also what "eval" or "eval_ema" predicted."""

    def __call__(self, line: dict[str, Any], scenes: dict[str, LabelledScene] | None = None) -> None: ...


@contextmanager
def logging(run: RunDirectory, first_step: int, context: Distributed) -> Iterator[Log]:
    """Yields the log of a run that goes on from `first_step`; on other than the main process it does nothing."""
    if not context.is_main:
        yield lambda line, scenes=None: None
        return
    run.drop_metrics_after(first_step)
    with closing(TensorBoard(run.tensorboard, purge_step=first_step + 1)) as board:

        def log(line: dict[str, Any], scenes: dict[str, LabelledScene] | None = None) -> None:
            run.append_metrics(line)
            board.scalars(line)
            for evaluation, scene in (scenes or {}).items():
                board.scene(evaluation, scene, line["step"])

        yield log
