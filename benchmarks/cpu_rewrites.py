"""What each exact rewrite of PointNet++ (SSG) gives on the CPU: its time with that one alone switched off.

    python -m benchmarks.cpu_rewrites [--store STORE] [--batch B] [--seconds S] [--output FILE]
    python -m benchmarks.cpu_rewrites --table        puts the figures of FILE into docs/operators.md

Training steps and inference on the chunks of `cpu_network`, all in turns, beside the network as it is and the plain
one. A rewrite is switched off by replacing functions of the network by plainer ones of the same outputs and gradients;
how far those are from the network's in float64 is measured too. Freed memory is kept or not by a whole process: that
one is measured between two. The gains do not multiply to that over the plain network: each rewrite changes how much
work another has to save.
"""

from __future__ import annotations

import argparse
import copy
import json
import multiprocessing
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import plain_pointnet2
from benchmarks.cpu_network import job, make_store, networks, real_looking_chunks, rounded
from benchmarks.gpu_tables import digits, markdown
from benchmarks.timing import Milliseconds, interleaved, machine
from pointseg.atomic import replacing
from pointseg.models import PointNet2, distinct, layers, pointnet2
from pointseg.models.distinct import Balls, Points
from pointseg.models.layers import Dropout, Layer, chain, linear_after
from pointseg.models.pointnet2 import FeaturePropagation, Geometry, SetAbstraction
from pointseg.models.pooling import layer_max, maximum
from pointseg.process import keep_freed_memory
from pointseg.store import SceneStore

PAGE = Path(__file__).parents[1] / "docs" / "operators.md"
TRAINING, INFERENCE = WHAT = ("training step", "inference")
MEMORY = "freed memory kept"
NOT_SEPARABLE = [
    "first linear maps before grouping and interpolation, maximum before BatchNorm, padding of balls skipped, in "
    "inference: the fused layers know no other way",
    "BatchNorm folded into the linear maps in inference: as above",
]
_geometry = PointNet2.geometry


class Rewrite(NamedTuple):
    """One rewrite and what switches it off; times are of `what` it is part of.

    `without` names the rewrites that need this one: they are switched off on both sides.
    """

    name: str
    off: tuple[tuple[Any, str, Any], ...]  # object, attribute, what to put there
    what: tuple[str, ...] = (TRAINING,)
    without: tuple[str, ...] = ()


def sampled_anew(model: PointNet2, xyz: Tensor) -> Geometry:
    """`PointNet2.geometry`, and the sampling of each further level from the one above, which finds its prefix."""
    found = _geometry(model, xyz)
    centres = plain_pointnet2.take(xyz, found.samples.long())
    for count in model.points[1:]:
        index = pointnet2.furthest_point_sample(centres, count).long()
        assert torch.equal(index, torch.arange(count).expand_as(index))
        centres = plain_pointnet2.take(centres, index)
    return found


def grouped_first(
    self: SetAbstraction, xyz: Tensor, centres: Tensor, features: Tensor | None, neighbours: list[Balls]
) -> Tensor:
    """`SetAbstraction.forward` in training: groups, then the first linear map."""
    (mlp,), (balls,) = self.mlps, neighbours
    x = distinct.take_rows(xyz, balls.point) - distinct.take_rows(centres, balls.centre)
    x = x if features is None else torch.cat([x, distinct.take_rows(features, balls.point)], dim=1)
    *before, last = mlp
    return layer_max(last, F.linear(x, mlp[0].linear.weight), balls, before)


def interpolated_first(
    self: FeaturePropagation,
    coarse: Tensor,
    skip: Tensor | None,
    nearest: Tensor,
    weights: Tensor,
    then: nn.Sequential,
    points: Points | None = None,
) -> Tensor:
    """`FeaturePropagation.forward` in training: interpolates, then the first linear map."""
    if points is not None:
        cloud = torch.arange(len(coarse), dtype=nearest.dtype).view(-1, 1, 1) * coarse.shape[1]
        coarse, nearest = coarse.flatten(0, 1).unsqueeze(0), points.of(nearest + cloud)
        skip, weights = None if skip is None else points.of(skip), points.of(weights)
    x = pointnet2.interpolate_rows(coarse, nearest, weights)
    y = F.linear(x if skip is None else torch.cat([x, skip], dim=2), self.mlp[0].linear.weight)
    if not then:
        return chain(self.mlp, y)
    *before, last = self.mlp
    y = linear_after(before, y, last.linear.weight, None if points is None else points.count)[0]
    return then(y, points, [last])


def maximum_last(layer: Layer, x: Tensor, balls: Balls, before: list[Layer]) -> Tensor:
    """`layer_max` in the order of its definition."""
    return maximum(chain([*before, layer], x, balls.count), balls)


def never(*_: object) -> bool:
    return False


def pytorch_dropout(self: Dropout, x: Tensor) -> Tensor:
    return F.dropout(x, self.p, self.training)


def sampled_in_a_loop(xyz: Tensor, count: int) -> Tensor:
    return plain_pointnet2.sample(xyz, count).int()


def ball_by_sorting(radius: float, count: int, xyz: Tensor, centres: Tensor) -> Tensor:
    return plain_pointnet2.ball(radius, count, xyz, centres).int()


def nearest_by_sorting(unknown: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    distance, index = plain_pointnet2.squared_distances(unknown, known).sort(dim=2)
    return distance[:, :, :3].clamp_min(0).sqrt(), index[:, :, :3].int()


def indexed_rows(x: Tensor, index: Tensor) -> Tensor:
    return x.flatten(0, 1)[index.long()]


def interpolated_by_indexing(features: Tensor, index: Tensor, weights: Tensor) -> Tensor:
    return (plain_pointnet2.take(features, index.long()) * weights.unsqueeze(3)).sum(dim=2)


NEIGHBOURS, POINTS, BLOCKS = "repeated neighbours once", "equal points once", "BatchNorm, ReLU and linear map in blocks"
REWRITES = (
    Rewrite("centres as a prefix", ((PointNet2, "geometry", sampled_anew),), WHAT),
    Rewrite("first linear map before grouping", ((SetAbstraction, "forward", grouped_first),)),
    Rewrite("first linear map before interpolation", ((FeaturePropagation, "forward", interpolated_first),)),
    Rewrite(NEIGHBOURS, ((PointNet2, "distinct_neighbours", False),)),
    Rewrite(POINTS, ((PointNet2, "distinct_points", False),), WHAT),
    Rewrite("maximum before BatchNorm and ReLU", ((pointnet2, "layer_max", maximum_last),)),
    Rewrite(BLOCKS, ((layers, "is_joined", never), (pointnet2, "is_joined", never))),
    Rewrite("BatchNorm and ReLU in one pass", ((Layer, "fused", False),), without=(NEIGHBOURS, POINTS, BLOCKS)),
    Rewrite("fused layers", ((pointnet2, "_fuses", never),), (INFERENCE,)),
    Rewrite("dropout operator", ((Dropout, "forward", pytorch_dropout),)),
    Rewrite("sampling operator", ((pointnet2, "furthest_point_sample", sampled_in_a_loop),), WHAT),
    Rewrite("ball query operator", ((pointnet2, "ball_query", ball_by_sorting),), WHAT),
    Rewrite("3-NN operator", ((pointnet2, "three_nn", nearest_by_sorting),), WHAT),
    Rewrite("gathering operator", ((pointnet2, "take_rows", indexed_rows), (distinct, "take_rows", indexed_rows))),
    Rewrite("interpolation operator", ((pointnet2, "interpolate_rows", interpolated_by_indexing),)),
)
NOTHING = Rewrite("nothing", (), WHAT)  # how far two measurements of the same are apart


@contextmanager
def switched_off(*rewrites: Rewrite) -> Iterator[None]:
    with ExitStack() as stack:
        for rewrite in rewrites:
            for target, attribute, plainer in rewrite.off:
                stack.enter_context(patch.object(target, attribute, plainer))
        yield


def needing(rewrite: Rewrite) -> list[Rewrite]:
    """The rewrites without which `rewrite` is measured."""
    return [other for other in REWRITES if other.name in rewrite.without]


def outcome(what: str, model: PointNet2, xyz: Tensor) -> list[Tensor]:
    """Logits, and of training the gradients and BatchNorm's statistics, of a copy of `model` without dropout."""
    model = copy.deepcopy(model).to(xyz.dtype).train(what == TRAINING)
    model.head[1].p = 0.0
    with torch.set_grad_enabled(what == TRAINING):
        logits = model(xyz)
    if what == INFERENCE:
        return [logits]
    logits.square().sum().backward()
    return [logits.detach(), *(p.grad for p in model.parameters()), *model.buffers()]


def largest_difference(rewrite: Rewrite, what: str, model: PointNet2, xyz: Tensor) -> float:
    """Between the outcomes with `rewrite` and without it, beside the largest number of a tensor if that is over 1."""
    with switched_off(*needing(rewrite)):
        expected = outcome(what, model, xyz)
    with switched_off(*needing(rewrite), rewrite):
        found = outcome(what, model, xyz)
    pairs = zip(found, expected, strict=True)
    return max(((a - b).abs().max() / b.abs().max().clamp_min(1)).item() for a, b in pairs)


def without(run: Callable[[], object], *rewrites: Rewrite) -> Callable[[], None]:
    def off() -> None:
        with switched_off(*rewrites):
            run()

    return off


def measure(what: str, xyz: Tensor, seconds: float, least: int = 3) -> dict[str, Any]:
    """Milliseconds of the network as it is, of the plain one, and with each rewrite switched off."""
    models = networks()
    run = job(what, models["ours"], xyz)
    rewrites = [NOTHING, *(rewrite for rewrite in REWRITES if what in rewrite.what)]
    contenders = {"as it is": run, "plain network": job(what, models["plain"], xyz)}
    for rewrite in rewrites:
        contenders[rewrite.name] = without(run, *needing(rewrite), rewrite)
        if rewrite.without:
            contenders[f"on: {rewrite.name}"] = without(run, *needing(rewrite))
    times = interleaved(contenders, seconds, rounds=40, least=least)
    rows = {r.name: gain(times[r.name], times.get(f"on: {r.name}", times["as it is"])) for r in rewrites}
    for rewrite in rewrites if what == TRAINING else ():
        rows[rewrite.name]["largest_difference"] = largest_difference(rewrite, what, models["ours"], xyz[:2].double())
    return {"ms": {name: rounded(times[name]) for name in ("as it is", "plain network")}, "rewrites": rows}


def gain(off: Milliseconds, on: Milliseconds) -> dict[str, Any]:
    return {"off_ms": rounded(off), "on_ms": rounded(on), "gain": round(off.median / on.median, 2)}


@contextmanager
def process(xyz: Tensor, *, keep: bool) -> Iterator[Callable[[str], None]]:
    """Does jobs in a process of its own, which keeps freed memory or gives it back to the system."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    other = context.Process(target=_serve, args=(theirs, xyz.numpy(), torch.get_num_threads(), keep), daemon=True)
    other.start()

    def work(what: str) -> None:
        ours.send(what)
        ours.recv()

    yield work
    ours.send("")
    other.join()


def _serve(pipe: Connection, xyz: np.ndarray, threads: int, keep: bool) -> None:
    torch.set_num_threads(threads)
    if keep:
        keep_freed_memory()
    jobs = {what: job(what, networks()["ours"], torch.from_numpy(xyz)) for what in WHAT}
    while what := pipe.recv():
        jobs[what]()
        pipe.send(what)


def table(record: dict[str, Any]) -> str:
    """Milliseconds without each rewrite and its gain, the largest first."""

    def of(what: str, name: str) -> list[str]:
        row = record[what]["rewrites"].get(name)
        return [digits(row["off_ms"]["median"]), f"{row['gain']:.2f}"] if row else ["", ""]

    def largest_gain(name: str) -> float:
        return max(record[what]["rewrites"].get(name, {"gain": 0})["gain"] for what in WHAT)

    names = sorted((*(rewrite.name for rewrite in REWRITES), MEMORY), key=largest_gain, reverse=True)
    rows = [[name, *of(TRAINING, name), *of(INFERENCE, name)] for name in (NOTHING.name, *names)]
    plain = [(record[what]["ms"]["plain network"], record[what]["ms"]["as it is"]) for what in WHAT]
    cells = [text for a, b in plain for text in (digits(a["median"]), f"{a['median'] / b['median']:.1f}")]
    rows.append(["all: the plain network", *cells])
    return markdown(["without", *(f"{what}{text}" for what in WHAT for text in (", ms", ": gain"))], rows)


def written(page: str, record: dict[str, Any]) -> str:
    """The page's text with the table between its marks."""
    marks = r"(<!-- cpu_rewrites -->\n).*?(<!-- end -->)"
    page, found = re.subn(marks, lambda match: match[1] + table(record) + match[2], page, flags=re.S)
    assert found == 1
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, help="folder with train.h5; made of synthetic rooms if not given")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=90.0)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/cpu_rewrites.json"))
    parser.add_argument("--table", action="store_true", help="measure nothing")
    arguments = parser.parse_args()
    if arguments.table:
        PAGE.write_text(written(PAGE.read_text(), json.loads(arguments.output.read_text())))
        return
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.store is None:
            make_store(Path(folder))
        xyz = real_looking_chunks(SceneStore((arguments.store or Path(folder)) / "train.h5"), arguments.batch)
    shares = [len(chunk.unique(dim=0)) / len(chunk) for chunk in xyz]
    result: dict[str, Any] = {"batch": len(xyz), "points": xyz.shape[1], "distinct_share": round(np.mean(shares), 3)}
    for what, share in zip(WHAT, (0.55, 0.25), strict=True):
        result[what] = measure(what, xyz, share * arguments.seconds)
    with process(xyz, keep=True) as keeping, process(xyz, keep=False) as returning:
        for what in WHAT:
            jobs = {"off": lambda what=what: returning(what), "on": lambda what=what: keeping(what)}
            result[what]["rewrites"][MEMORY] = gain(**interleaved(jobs, 0.1 * arguments.seconds, rounds=40))
    result["both_without"] = {rewrite.name: rewrite.without for rewrite in REWRITES if rewrite.without}
    result["not_separable"] = NOT_SEPARABLE
    result["machine"] = machine() | {"load_average": round(os.getloadavg()[0], 1)}  # of the last minute
    with replacing(arguments.output) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
