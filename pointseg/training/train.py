"""The training loop on chunks of a store, on one process or many.

Everything the loop does at a step is a function of the configuration and the step number: batch, dropout mask, learning
rate, BatchNorm momentum. What resuming needs is therefore the weights, the optimiser's state, the step, and what the
log and the choice of the best checkpoint have seen so far.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pointseg.config import Config
from pointseg.config_file import dump_config
from pointseg.data.dataset import ChunkDataset, StepSampler, steps_of, training_loader
from pointseg.data.device_chunks import DeviceChunks
from pointseg.data.inputs import feature_channels
from pointseg.distributed import Distributed
from pointseg.errors import InputError
from pointseg.evaluation.evaluate import evaluate
from pointseg.evaluation.inference import output_classes
from pointseg.losses import class_weights
from pointseg.models import build_model
from pointseg.pretrained import PRETRAINED
from pointseg.progress import progress_bar
from pointseg.rundir import RunDirectory, describe_run, load_checkpoint, load_weights
from pointseg.scannet.labels import CLASS_NAMES, NUM_CLASSES
from pointseg.store import Scene, SceneStore
from pointseg.training.ahead import ahead
from pointseg.training.ema import AveragedModel
from pointseg.training.faults import (
    Interrupted,
    explained,
    interruption,
    is_out_of_memory,
    out_of_memory,
    report_nonfinite,
)
from pointseg.training.log import logging
from pointseg.training.schedule import bn_momentum, learning_rate
from pointseg.training.step import TrainingStep
from pointseg.training.tensorboard import LabelledScene
from pointseg.training.validation import Validation
from pointseg.training.window import Pace, Window

# What may change when a run goes on; anything else would make it another run. (`train.epochs` too, see `_check_same`.)
CHANGEABLE_ON_RESUME = (
    *("train.log_every", "train.checkpoint_every", "train.keep_every", "train.evaluate_every", "train.on_nonfinite"),
    *("train.validate_every", "train.validate_chunks"),
    *("train.accumulate", "train.compile", "train.cuda_graph", "data.store", "data.workers", "evaluate."),
)


def train(
    config: Config,
    run: RunDirectory,
    context: Distributed,
    *,
    resume: bool = False,
    stop_after: int | None = None,
    progress: bool = True,
) -> Pace:
    """Trains until `config.train.epochs` are done and leaves everything in `run`.

    Args:
        config: the experiment; on resume it may differ from the run's own only in `CHANGEABLE_ON_RESUME`.
        run: a folder without a run, or, when `resume`, with one.
        stop_after: stop at this step as if interrupted, with a checkpoint.
        progress: draw a progress bar on the main process.

    Returns:
        how fast this call's steps went.

    Raises:
        InputError: an unfit store, a run that exists (on resume: that does not), a checkpoint of another architecture,
            a batch size that the processes cannot share, a loss that is not finite, too little memory.
        ConnectionError: another process of the run is gone.
        Interrupted: a signal came; the step under way was finished and a checkpoint written.
    """
    if stop_after is not None and stop_after < 1:
        raise InputError(f"stop_after must be 1 or more, got {stop_after}")
    store = SceneStore(Path(config.data.store) / "train.h5", CLASS_NAMES)
    _check_fit(store, config)
    if config.train.evaluate_every or config.train.validate_every:
        _check_fit(_evaluation_store(config), config)  # rather now than after the first epochs
    run.load_config() if resume else run.check_free()
    context.barrier()  # every process has seen that the folder is free before the main one fills it
    with ExitStack() as held:
        context.on_main(lambda: held.enter_context(run.locked()))
        context.on_main(lambda: (_check_same if resume else _create)(run, config, context, store))
        return _train(config, run, context, store, resume=resume, stop_after=stop_after, progress=progress)


def _train(
    config: Config,
    run: RunDirectory,
    context: Distributed,
    store: SceneStore,
    *,
    resume: bool,
    stop_after: int | None,
    progress: bool,
) -> Pace:
    """`train` in a run directory that exists and is locked."""
    settings = config.train
    label_counts = torch.from_numpy(store.label_counts.sum(axis=0))  # [21] int64, unannotated last
    outputs = output_classes(config)
    weight = class_weights(label_counts[:outputs]).to(context.device) if settings.class_weights else None

    torch.manual_seed(settings.seed)
    model = build_model(config.model, outputs, in_features=feature_channels(config.data)).to(context.device)
    if settings.init and not resume:
        _initialise(model, settings.init)
    training_step = TrainingStep(model, settings, weight, context)
    dataset = ChunkDataset(store, config.data, seed=settings.seed)
    steps = steps_of(len(dataset), epochs=settings.epochs, batch_size=settings.batch_size)
    last_step = steps if stop_after is None else min(steps, stop_after)
    average = AveragedModel(model, settings.ema) if settings.ema else None
    state = run.load_checkpoint() if resume else {}
    if resume:
        load_weights(model, state["model"], run.checkpoint_file)
        training_step.load_optimizer(state["optimizer"])
        if average:
            load_weights(average.model, state["ema"], run.checkpoint_file)
    first_step, best = state.get("step", 0), state.get("best", -1.0)
    if first_step > steps:
        raise InputError(
            f"resume: train.epochs must reach step {first_step}, where the run is, got {settings.epochs}: {steps} steps"
        )
    if resume:
        context.on_main(lambda: run.write_config(config))  # with what `--set` changed
    sampler = StepSampler(dataset, settings, first_step, last_step, rank=context.rank, world_size=context.world_size)
    if config.data.device_chunks:
        loader = DeviceChunks(store, config.data, sampler, context.device)
    else:
        loader = training_loader(dataset, sampler, pin_memory=context.device.type == "cuda")
    validation = Validation(_evaluation_store(config), config, context) if settings.validate_every else None
    window = Window(context, settings.batch_size, state.get("window"))

    def ends(every: int, done: int) -> bool:
        """Does step number `done` complete a multiple of `every` epochs? Never when `every` is 0."""
        before, now = ((done - n) * settings.batch_size // len(dataset) for n in (1, 0))
        return every > 0 and now // every > before // every

    def evaluate_now(done: int) -> None:
        nonlocal best
        with window.paused():
            line, scenes, score = _evaluate(model, average, config, context, label_counts)
            log({"step": done, **line}, scenes)
        if score > best:
            best = score
            save(done, run.best_checkpoint_file)

    def validate_now(done: int) -> None:
        with window.paused():
            networks = _networks(model, average, "validation", context)
            log({"step": done} | {name: validation(network, training_step) for name, network in networks.items()})

    def save(done: int, path: Path, *, evaluation_due: bool = False) -> None:
        if context.is_main:
            content = {"model": model.state_dict(), "optimizer": training_step.optimizer.state_dict(), "step": done}
            content |= {"ema": average.model.state_dict()} if average else {}
            content |= {"window": window.state(), "best": best, "evaluation_due": evaluation_due}
            content |= {"config": dump_config(config), "classes": list(CLASS_NAMES), "label_counts": label_counts}
            run.save_checkpoint(content, path)

    with (
        interruption() as interrupted,  # outermost: torchrun sends SIGTERM while a lost process is being explained
        explained(context),
        logging(run, first_step, context) as log,
        progress_bar(total=steps, initial=first_step, unit="step", shown=progress and context.is_main) as bar,
    ):
        if state.get("evaluation_due"):
            evaluate_now(first_step)
            save(first_step, run.checkpoint_file)  # or a crash would have it evaluated, and logged, once more
        model.train()
        window.begin()
        for step, (batch, geometry) in enumerate(ahead(loader, model, context.device), first_step):
            window.loaded()
            lr, momentum = learning_rate(settings, step, steps), bn_momentum(settings, step)
            torch.manual_seed(_step_seed(settings.seed, step, context.rank))
            try:
                outcome = training_step(batch, geometry, lr, momentum)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                error = None  # its traceback holds the tensors of the step
                fitting = training_step.fitting_split(batch, geometry)
                raise out_of_memory(step, len(batch["xyz"]), settings.accumulate, fitting) from None
            if average:
                average.update(step)
            window.add(step, outcome, batch)

            done = step + 1
            signal_number = context.maximum(interrupted())
            stopping = signal_number > 0 or done == last_step < steps
            logs = done == steps or done % settings.log_every == 0
            evaluates, keeps = ends(settings.evaluate_every, done), ends(settings.keep_every, done)
            saves = done == last_step or stopping or ends(settings.checkpoint_every, done)
            bar.update()
            if window.full or logs or evaluates or keeps or saves:
                for skipped in window.read():
                    stop = settings.on_nonfinite == "stop"
                    print(report_nonfinite(skipped, store.scan_ids, run.failures, context, stop=stop), file=sys.stderr)
            if logs:
                line = {"step": done, "epoch": done * settings.batch_size / len(dataset)}
                line |= {"samples": done * settings.batch_size, "lr": lr, "bn_momentum": momentum, **window.close()}
                log(line)
            if ends(settings.validate_every, done):
                validate_now(done)
            if evaluates and not stopping:
                evaluate_now(done)
                model.train()
            if logs:
                bar.set_postfix_str(_describe(line, best))
            if keeps:
                save(done, run.kept_checkpoint_file(done))
            if saves:
                save(done, run.checkpoint_file, evaluation_due=evaluates and stopping)
            if stopping:
                break
            window.wait()
    if signal_number := context.maximum(interrupted()):
        raise Interrupted(signal_number)
    return window.whole_run()


def _initialise(model: nn.Module, source: str) -> None:
    """Copies the weights of "pretrained", a run directory or a checkpoint, the averaged ones where it has them."""
    path = PRETRAINED if source == "pretrained" else Path(source)
    path = RunDirectory(path).checkpoint_file if path.is_dir() else path
    state = load_checkpoint(path)
    load_weights(model, state.get("ema", state["model"]), path)


def _evaluation_store(config: Config) -> SceneStore:
    return SceneStore(Path(config.data.store) / f"{config.evaluate.split}.h5", CLASS_NAMES)


def _check_fit(store: SceneStore, config: Config) -> None:
    """Raises InputError where a store cannot be trained on, or be scored while training."""
    if config.data.color and store.meta.created.get("without") == "rgb":
        raise InputError(f"data.color must be false with {store.path}, which has no colours, got true")
    for name, labelled in zip(store.scan_ids, store.labelled, strict=True):
        if not labelled:
            raise InputError(f"{store.path}: expected labelled scenes, got {name} without labels")
    if store.label_counts[:, :NUM_CLASSES].sum() == 0:
        raise InputError(f"{store.path}: expected annotated points, got none in {len(store)} scenes")


def _create(run: RunDirectory, config: Config, context: Distributed, store: SceneStore) -> None:
    meta = describe_run(device=context.device, world_size=context.world_size, seed=config.train.seed)
    about_store = store.description | {"fingerprint": store.fingerprint}
    run.create(config, meta | {"store": about_store, "label_counts": store.label_counts.sum(axis=0).tolist()})


def _check_same(run: RunDirectory, config: Config, context: Distributed, store: SceneStore) -> None:
    """Raises InputError where going on would make it another run: other settings, another store."""
    # The staircase does not know how long a run is; the other schedules end with it.
    changeable = (*CHANGEABLE_ON_RESUME, *(["train.epochs"] if _length_is_free(config) else []))
    changed = [key for key in run.changed_settings(config) if not key.startswith(changeable)]
    if changed:
        raise InputError(f"resume: {changed[0]} differs from the run's own config.yaml; start another run to change it")
    fingerprint = run.load_meta()["store"].get("fingerprint", store.fingerprint)
    if store.fingerprint != fingerprint:
        raise InputError(
            f"resume: {store.path} must be the store of this run, fingerprint {fingerprint}, got {store.fingerprint}; "
            "start another run to train on it"
        )


def _length_is_free(config: Config) -> bool:
    return config.train.schedule == "staircase" and config.train.warmup == 0


def _evaluate(
    model: nn.Module, average: AveragedModel | None, config: Config, context: Distributed, label_counts: Tensor
) -> tuple[dict[str, Any], dict[str, LabelledScene], float]:
    """Evaluates the weights, and their average where there is one.

    Returns for "eval" and "eval_ema" the overall scores of every protocol and those of each class, pixel by pixel; the
    first scene (main process); and what the best checkpoint has most of, the voxel accuracy (4.84 cm) of the average
    where there is one, by the first protocol.
    """
    lines, scenes, score = {}, {}, 0.0
    for name, network in _networks(model, average, "eval", context).items():

        def keep(scene: Scene, label: np.ndarray, name: str = name) -> None:
            scenes[name] = LabelledScene(scene.xyz, scene.label, label)

        store, counts = _evaluation_store(config), label_counts.numpy()
        result = evaluate(network, store, config, context, training_counts=counts, on_first=keep, progress=False)
        lines[name] = {protocol: _logged_scores(scores) for protocol, scores in result["protocols"].items()}
        score = lines[name][config.evaluate.protocols[0]]["voxel_4.84cm"]["accuracy"]
    return lines, scenes, score


def _networks(model: nn.Module, average: AveragedModel | None, what: str, context: Distributed) -> dict[str, nn.Module]:
    """The weights as `what` and, where there is one, their average as `what`_ema, the same on every process."""
    networks = {what: model} | ({f"{what}_ema": average.model} if average else {})
    for network in networks.values():
        # Each process's last step moved its own BatchNorm statistics; the main process's are those that are saved.
        context.broadcast(buffer for buffer in network.buffers() if buffer.is_floating_point())
    return networks


def _logged_scores(scores: dict[str, Any]) -> dict[str, Any]:
    """Overall scores, and "per_class": IoU and accuracy of the classes that have any."""
    classes = {row["class"]: {"iou": row["iou"], "accuracy": row["recall"]["pixel"]} for row in scores["per_class"]}
    return scores["overall"] | {"per_class": {name: row for name, row in classes.items() if row["iou"] is not None}}


def _step_seed(seed: int, step: int, rank: int) -> int:
    """The seed of PyTorch's generator (dropout) at a step: a resumed run draws what an unbroken one would have."""
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1)[0])


def _describe(line: dict[str, Any], best: float) -> str:
    return (
        f"epoch {line['epoch']:.1f}, loss {line['loss']:.3f}, acc {line['accuracy']:.3f}, "
        f"{line['chunks_per_second']:.1f} chunks/s, waiting {line['data_wait']:.0%}"
        + (f", best voxel acc {best:.1%}" if best >= 0 else "")
    )
