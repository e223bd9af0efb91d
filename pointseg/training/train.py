"""The training loop: Adam with staircase decay on chunks of a store, on one process or many.

Everything the loop does at a step is a function of the configuration and the step number: batch, dropout mask, learning
rate, BatchNorm momentum. What resuming needs is therefore the weights, the optimiser's state and the step.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from pointseg.config import Config, TrainConfig
from pointseg.config_file import changed_keys, dump_config
from pointseg.data.dataset import Batch, ChunkDataset, StepSampler, steps_of, training_loader
from pointseg.data.inputs import feature_channels
from pointseg.distributed import Distributed
from pointseg.errors import InputError
from pointseg.evaluation.evaluate import evaluate
from pointseg.evaluation.inference import output_classes
from pointseg.losses import class_weights, segmentation_loss
from pointseg.models import build_model
from pointseg.models.layers import set_bn_momentum
from pointseg.models.pointnet2 import Geometry
from pointseg.rundir import RunDirectory, describe_run, load_weights
from pointseg.scannet.labels import CLASS_NAMES, IGNORE, NUM_CLASSES
from pointseg.store import SceneStore
from pointseg.training.ahead import ahead

# What may change when a run goes on; anything else would make it another run.
CHANGEABLE_ON_RESUME = (
    *("train.epochs", "train.log_every", "train.checkpoint_every", "train.evaluate_every", "train.on_nonfinite"),
    *("data.store", "data.workers", "evaluate."),
)


def train(
    config: Config,
    run: RunDirectory,
    context: Distributed,
    *,
    resume: bool = False,
    stop_after: int | None = None,
    progress: bool = True,
) -> None:
    """Trains until `config.train.epochs` are done and leaves everything in `run`.

    Args:
        config: the experiment; on resume it may differ from the run's own only in `CHANGEABLE_ON_RESUME`.
        run: a folder without a run, or, when `resume`, with one.
        stop_after: stop at this step as if interrupted, with a checkpoint.
        progress: draw a progress bar on the main process.

    Raises:
        InputError: an unfit store, a run that exists (on resume: that does not), a checkpoint of another architecture,
            a batch size that the processes cannot share, a loss that is not finite.
        KeyboardInterrupt: SIGINT or SIGTERM came; the step under way was finished and a checkpoint written.
    """
    settings = config.train
    if settings.batch_size % context.world_size:
        raise InputError(
            f"train.batch_size must be a multiple of the number of processes, {context.world_size}, "
            f"got {settings.batch_size}"
        )
    if stop_after is not None and stop_after < 1:
        raise InputError(f"stop_after must be 1 or more, got {stop_after}")
    store = _labelled_store(Path(config.data.store) / "train.h5")
    if settings.evaluate_every:
        _evaluation_store(config)  # rather now than after the first epochs
    label_counts = torch.from_numpy(store.label_counts.sum(axis=0))  # [21] int64, unannotated last
    outputs = output_classes(config)
    weight = class_weights(label_counts[:outputs]).to(context.device) if settings.class_weights else None

    torch.manual_seed(settings.seed)
    model = build_model(config.model, outputs, in_features=feature_channels(config.data)).to(context.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
    dataset = ChunkDataset(store, config.data, seed=settings.seed)
    steps = steps_of(len(dataset), epochs=settings.epochs, batch_size=settings.batch_size)
    last_step = steps if stop_after is None else min(steps, stop_after)
    first_step = _resume(run, config, model, optimizer) if resume else _start(run, config, context, store)
    sampler = StepSampler(dataset, settings, first_step, last_step, rank=context.rank, world_size=context.world_size)
    loader = training_loader(dataset, sampler, pin_memory=context.device.type == "cuda")
    network = _parallel(model, context)
    window = _Window()

    with (
        _logging(run, first_step, context) as log,
        _interruption() as interrupted,
        tqdm(
            total=steps, initial=first_step, unit="step", disable=not (progress and context.is_main), dynamic_ncols=True
        ) as bar,
    ):
        model.train()
        window.wait()
        for step, (batch, geometry) in enumerate(ahead(loader, model, context.device), first_step):
            window.loaded()
            samples = step * settings.batch_size
            lr, momentum = learning_rate(settings, samples), bn_momentum(settings, samples)
            for group in optimizer.param_groups:
                group["lr"] = lr
            set_bn_momentum(model, momentum)
            torch.manual_seed(_step_seed(settings.seed, step, context.rank))
            buffers = _copy_buffers(model) if settings.on_nonfinite == "skip" else {}

            loss_sum, correct, count = _forward(network, batch, geometry, weight, settings)
            # One reduction a step: all processes divide by the same number of points and stop at the same step.
            mine = torch.stack([loss_sum.detach().double(), correct.double(), count.double()]).cpu()
            stop = torch.tensor([float(interrupted())], dtype=torch.float64)
            totals = context.all_reduce_sum(torch.cat([mine, stop])).tolist()
            stopping = totals[3] > 0

            if np.isfinite(totals).all():
                # DistributedDataParallel averages gradients over processes, the loss is a mean over all their points.
                optimizer.zero_grad(set_to_none=True)
                (loss_sum * (context.world_size / max(totals[2], 1.0))).backward()
                optimizer.step()
                window.add(*totals[:3], chunks=settings.batch_size)
            else:
                _report_nonfinite(settings, step, loss_sum, batch, store)
                model.load_state_dict(buffers, strict=False)

            done = step + 1
            epochs_before, epochs_done = (n * settings.batch_size // len(dataset) for n in (step, done))
            ending = stopping or done == last_step
            bar.update()
            if ending or done % settings.log_every == 0:
                line = {"step": done, "epoch": done * settings.batch_size / len(dataset)}
                line |= {"samples": done * settings.batch_size, "lr": lr, "bn_momentum": momentum, **window.read()}
                bar.set_postfix_str(_describe(line))
                log(line)
            if context.is_main and (ending or _crossed(settings.checkpoint_every, epochs_before, epochs_done)):
                state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": done}
                run.save_checkpoint(state | _about(config, label_counts))
            if not stopping and _crossed(settings.evaluate_every, epochs_before, epochs_done):
                log({"step": done, "eval": _evaluate(model, config, context, label_counts)})
                model.train()
            if stopping:
                break
            window.wait()
    if interrupted():
        raise KeyboardInterrupt


def learning_rate(config: TrainConfig, samples: int) -> float:
    """Staircase: times `lr_decay` every `decay_samples` chunks seen, never under `lr_floor`."""
    return max(config.lr * config.lr_decay ** (samples // config.decay_samples), config.lr_floor)


def bn_momentum(config: TrainConfig, samples: int) -> float:
    """PyTorch's BatchNorm momentum (the new batch's share); the same staircase as the learning rate."""
    return max(config.bn_momentum * config.bn_decay ** (samples // config.decay_samples), config.bn_floor)


def _forward(
    network: nn.Module, batch: Batch, geometry: Geometry | None, weight: Tensor | None, settings: TrainConfig
) -> tuple[Tensor, Tensor, Tensor]:
    """Weighted loss summed over the supervised points (with gradient), correct ones, supervised ones."""
    xyz, features, label = batch["xyz"], batch["features"], batch["label"]
    if settings.unannotated == "class":
        label = label.masked_fill(label == IGNORE, NUM_CLASSES)
    supervised = batch["inside"] & (label != IGNORE)
    with torch.autocast(xyz.device.type, torch.bfloat16, enabled=settings.precision == "bfloat16"):
        # [B, N, classes]; only a network that has a geometry is given one
        logits = network(xyz, features) if geometry is None else network(xyz, features, geometry)
    loss_sum, count = segmentation_loss(logits.float(), label, supervised, weight)
    correct = ((logits.argmax(dim=-1) == label) & supervised).sum()
    return loss_sum, correct, count


def _evaluation_store(config: Config) -> SceneStore:
    return SceneStore(Path(config.data.store) / f"{config.evaluate.split}.h5", CLASS_NAMES)


def _labelled_store(path: Path) -> SceneStore:
    store = SceneStore(path, CLASS_NAMES)
    for name, labelled in zip(store.scan_ids, store.labelled, strict=True):
        if not labelled:
            raise InputError(f"{path}: expected labelled scenes to train on, got {name} without labels")
    if store.label_counts[:, :NUM_CLASSES].sum() == 0:
        raise InputError(f"{path}: expected annotated points to train on, got none in {len(store)} scenes")
    return store


def _start(run: RunDirectory, config: Config, context: Distributed, store: SceneStore) -> int:
    """Creates the run directory; every process sees an existing run before the main one creates its own."""
    run.check_free()
    context.barrier()
    if context.is_main:
        meta = describe_run(device=context.device, world_size=context.world_size, seed=config.train.seed)
        counts = store.label_counts.sum(axis=0).tolist()
        run.create(config, meta | {"store": store.description, "label_counts": counts})
    context.barrier()
    return 0


def _resume(run: RunDirectory, config: Config, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Loads weights and optimiser; returns the step to go on with."""
    changed = [key for key in changed_keys(run.load_config(), config) if not key.startswith(CHANGEABLE_ON_RESUME)]
    if changed:
        raise InputError(f"resume: {changed[0]} differs from the run's own config.yaml; start another run to change it")
    state = run.load_checkpoint()
    load_weights(model, state["model"], run.checkpoint_file)
    optimizer.load_state_dict(state["optimizer"])
    return state["step"]


def _about(config: Config, label_counts: Tensor) -> dict[str, Any]:
    """What a checkpoint says of itself."""
    return {"config": dump_config(config), "classes": list(CLASS_NAMES), "label_counts": label_counts}


def _parallel(model: nn.Module, context: Distributed) -> nn.Module:
    if context.world_size == 1:
        return model
    devices = [context.device] if context.device.type == "cuda" else None
    return DistributedDataParallel(model, device_ids=devices)


def _evaluate(model: nn.Module, config: Config, context: Distributed, label_counts: Tensor) -> dict[str, Any]:
    """The overall scores of every protocol, for metrics.jsonl; of the network that the main process would save."""
    # Each process's last step moved its own BatchNorm statistics.
    context.broadcast(buffer for buffer in model.buffers() if buffer.is_floating_point())
    result = evaluate(
        model, _evaluation_store(config), config, context, training_counts=label_counts.numpy(), progress=False
    )
    return {name: protocol["overall"] for name, protocol in result["protocols"].items()}


def _step_seed(seed: int, step: int, rank: int) -> int:
    """The seed of PyTorch's generator (dropout) at a step: a resumed run draws what an unbroken one would have."""
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1)[0])


def _crossed(every: int, before: int, now: int) -> bool:
    """Was a multiple of `every` epochs completed between these two counts? Never when `every` is 0."""
    return every > 0 and now // every > before // every


def _copy_buffers(model: nn.Module) -> dict[str, Tensor]:
    """BatchNorm's running statistics, which a forward pass that is not finite spoils."""
    return {name: buffer.clone() for name, buffer in model.named_buffers()}


def _report_nonfinite(settings: TrainConfig, step: int, loss_sum: Tensor, batch: Batch, store: SceneStore) -> None:
    """Names the scenes of a batch whose loss is not finite; then stops the run unless it is to go on."""
    scenes = ", ".join(sorted({store.scan_ids[i] for i in batch["scene"].tolist()}))
    mine = f"loss is {loss_sum.item()} on {scenes}" if not loss_sum.isfinite() else "loss on another process"
    message = f"step {step}: {mine}"
    if settings.on_nonfinite == "stop":
        raise InputError(
            f"{message}: not finite; the last checkpoint is kept (a lower train.lr, or train.on_nonfinite=skip)"
        )
    print(f"{message}: not finite, step skipped", file=sys.stderr)


def _describe(line: dict[str, Any]) -> str:
    return (
        f"loss {line['loss']:.3f}, acc {line['accuracy']:.3f}, lr {line['lr']:.1e}, "
        f"{line['chunks_per_second']:.1f} chunks/s, waiting {line['data_wait']:.0%}"
    )


class _Window:
    """Sums since the last logged line, and how long the loop waited for data meanwhile."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.loss = self.correct = self.points = self.waited = 0.0
        self.chunks = 0
        self.since = time.perf_counter()

    def wait(self) -> None:
        self.waiting_since = time.perf_counter()

    def loaded(self) -> None:
        self.waited += time.perf_counter() - self.waiting_since

    def add(self, loss: float, correct: float, points: float, *, chunks: int) -> None:
        self.loss += loss
        self.correct += correct
        self.points += points
        self.chunks += chunks

    def read(self) -> dict[str, float]:
        """Means over the window, which then starts anew."""
        elapsed, points = time.perf_counter() - self.since, max(self.points, 1.0)
        means = {
            "loss": self.loss / points,
            "accuracy": self.correct / points,
            "chunks_per_second": self.chunks / elapsed,
            "data_wait": self.waited / elapsed,
        }
        self._reset()
        return means


@contextmanager
def _logging(run: RunDirectory, first_step: int, context: Distributed) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yields a function that writes one line to metrics.jsonl and its numbers to TensorBoard."""
    if not context.is_main:
        yield lambda line: None
        return
    from torch.utils.tensorboard import SummaryWriter  # takes a second to import

    run.drop_metrics_after(first_step)
    with SummaryWriter(str(run.tensorboard), purge_step=first_step) as writer:

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


@contextmanager
def _interruption() -> Iterator[Callable[[], bool]]:
    """Turns the first SIGINT or SIGTERM into a request, `interrupted()`; the second one acts as it always does."""
    came: list[int] = []
    previous: dict[int, Any] = {}

    def remember(number: int, frame: Any) -> None:
        came.append(number)
        signal.signal(number, previous[number])

    for number in (signal.SIGINT, signal.SIGTERM):
        previous[number] = signal.signal(number, remember)
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
