"""One optimiser step on a batch. Nothing in it waits for the device: what it has to say is a tensor, read later.

B chunks a process and step, N points, K outputs.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils._pytree import tree_map_only

from pointseg.config import TrainConfig
from pointseg.data.dataset import Batch
from pointseg.distributed import Distributed
from pointseg.errors import InputError
from pointseg.losses import segmentation_loss
from pointseg.models.layers import set_bn_momentum
from pointseg.models.pointnet2 import Geometry
from pointseg.scannet.labels import IGNORE, NUM_CLASSES
from pointseg.training.cuda_graph import GraphedStep
from pointseg.training.sync_norm import synchronise_batchnorm


class TrainingStep:
    """Forward, backward and update of `model` as the settings say, on this process's share of a batch.

    A step whose loss or gradient is not finite leaves the weights and the optimiser as they are, and with
    `on_nonfinite = "skip"` BatchNorm's statistics too.
    """

    def __init__(self, model: nn.Module, settings: TrainConfig, weight: Tensor | None, context: Distributed) -> None:
        """`weight` [K]: the factor of each class in the loss."""
        _check(settings, context)
        if settings.sync_batchnorm and context.world_size > 1:
            model = synchronise_batchnorm(model, context.device)
        self.model = model
        self.optimizer = make_optimizer(model, settings, context.device)
        self.lr = torch.zeros((), device=context.device)
        self._settings, self._weight, self._context = settings, weight, context
        self._momentum = -1.0
        self._network = _parallel(model, context)
        if settings.compile:
            self._network = torch.compile(self._network)
        self._graphed = GraphedStep(self._compute, context.device) if settings.cuda_graph else None
        self._set_lr()

    def __call__(self, batch: Batch, geometry: Geometry | None, lr: float, momentum: float) -> Tensor:
        """Takes the step; returns float64 [4] on the device.

        These are, of this process's points, the weighted loss summed over supervised points, the number of correct
        ones and of supervised ones; and, on the main process only, the norm of the gradient of all processes.
        """
        self.lr.fill_(lr)
        if momentum != self._momentum:
            set_bn_momentum(self.model, momentum)
            self._momentum = momentum
            if self._graphed is not None:
                self._graphed.record_again()  # kernels take the momentum as a number
        return (self._graphed or self._compute)(batch, geometry)

    def load_optimizer(self, state: dict) -> None:
        self.optimizer.load_state_dict(state)
        self._set_lr()

    def fitting_split(self, batch: Batch, geometry: Geometry | None) -> int | None:
        """After running out of memory: the least `accumulate`, doubled from now, with which the batch fits, by trying.

        None: not even one chunk does. Spoils gradients and statistics.
        """
        parts, chunks = self._settings.accumulate, len(batch["xyz"])
        while (parts := 2 * parts) <= chunks:
            if chunks % parts:
                continue
            self.optimizer.zero_grad(set_to_none=True)
            if self._context.device.type == "cuda":
                torch.cuda.empty_cache()
            try:
                part, part_geometry = _rows((batch, geometry), slice(chunks // parts))
                self._forward(self.model, part, part_geometry)[0].backward()
                return parts
            except RuntimeError:  # torch.OutOfMemoryError is one
                continue
        return None

    @torch.no_grad()
    def sums(self, network: nn.Module, batch: Batch) -> Tensor:
        """Takes no step; float64 [3], as `__call__` returns them: loss, correct and supervised points of `network`."""
        loss, correct = self._forward(network, batch, None)
        return torch.stack([loss.double(), correct.double(), self._targets(batch)[1].sum().double()])

    def _set_lr(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr

    def _compute(self, batch: Batch, geometry: Geometry | None) -> Tensor:
        context, parts = self._context, self._settings.accumulate
        points = self._targets(batch)[1].sum()
        # DistributedDataParallel averages gradients over processes, the loss is a mean over all their points.
        share = context.world_size / context.all_reduce_sum(points).clamp_min(1)
        buffers = [b.clone() for b in self.model.buffers()] if self._settings.on_nonfinite == "skip" else []
        self.optimizer.zero_grad(set_to_none=True)
        loss_sum = correct_sum = 0
        size = len(batch["xyz"]) // parts
        for part in range(parts):
            rows = slice(part * size, (part + 1) * size)
            with self._exchange(last=part == parts - 1):
                loss, correct = self._forward(self._network, *_rows((batch, geometry), rows))
                (loss * share + self._penalty()).backward()
            loss_sum, correct_sum = loss_sum + loss.detach(), correct_sum + correct

        parameters = [p for p in self.model.parameters() if p.grad is not None]
        norm = nn.utils.get_total_norm([p.grad for p in parameters])
        if self._settings.clip_norm:
            nn.utils.clip_grads_with_norm_(parameters, self._settings.clip_norm, norm)
        # The fused optimisers skip the update where this is 1, on the device (as for torch.amp.GradScaler).
        self.optimizer.found_inf = (~norm.isfinite()).float()
        self.optimizer.step()
        with torch.no_grad():
            for buffer, before in zip(self.model.buffers(), buffers, strict=False):
                buffer.copy_(torch.where(norm.isfinite(), buffer, before))
        norm = norm if context.is_main else torch.zeros_like(norm)
        return torch.stack([value.double() for value in (loss_sum, correct_sum, points, norm)])

    def _forward(self, network: nn.Module, batch: Batch, geometry: Geometry | None) -> tuple[Tensor, Tensor]:
        """Weighted loss summed over the supervised points (with gradient), and the number of correct ones."""
        features = batch["features"]
        # The operators refuse coordinates that are not finite; they come in as 0 and the loss becomes NaN instead.
        xyz, sound = batch["xyz"].nan_to_num(0, 0, 0), 1 + 0 * batch["xyz"].sum()
        label, supervised = self._targets(batch)
        with torch.autocast(xyz.device.type, torch.bfloat16, enabled=self._settings.precision == "bfloat16"):
            # [B, N, K]; only a network that has a geometry is given one
            logits = network(xyz, features) if geometry is None else network(xyz, features, geometry)
        loss_sum, _ = segmentation_loss(
            logits.float(), label, supervised, self._weight, smoothing=self._settings.label_smoothing
        )
        correct = ((logits.argmax(dim=-1) == label) & supervised).sum()
        loss_sum = loss_sum * sound
        # Its gradient can be finite where the loss is not; then it becomes NaN too, on every process.
        return loss_sum * (1 + 0 * loss_sum.detach()), correct

    def _penalty(self) -> Tensor | float:
        """The regulariser that the network's last forward pass left, if it is one with a regulariser."""
        penalty = getattr(self.model, "penalty", None)
        return 0.0 if penalty is None else penalty * self._context.world_size  # gradients are averaged

    def _targets(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Labels [B, N] int64 as the network is trained on them, and which of them count, [B, N] bool."""
        label = batch["label"]
        if self._settings.unannotated == "class":
            label = label.masked_fill(label == IGNORE, NUM_CLASSES)
        return label, batch["inside"] & (label != IGNORE)

    def _exchange(self, *, last: bool) -> AbstractContextManager:
        """Gradients are exchanged once a step, in the last part's backward pass."""
        return nullcontext() if last or self._context.world_size == 1 else self._network.no_sync()


def make_optimizer(model: nn.Module, settings: TrainConfig, device: torch.device) -> torch.optim.Optimizer:
    """Adam or AdamW; weight decay acts on matrices, not on biases, BatchNorm's parameters and other vectors."""
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.optimizer]
    return kind(groups, lr=settings.lr, fused=True, capturable=device.type == "cuda")


def _rows(tree: tuple[Batch, Geometry | None], rows: slice) -> tuple[Batch, Geometry | None]:
    return tree_map_only(Tensor, lambda tensor: tensor[rows], tree)


def _parallel(model: nn.Module, context: Distributed) -> nn.Module:
    if context.world_size == 1:
        return model
    devices = [context.device] if context.device.type == "cuda" else None
    return DistributedDataParallel(model, device_ids=devices)


def _check(settings: TrainConfig, context: Distributed) -> None:
    if settings.batch_size % (context.world_size * settings.accumulate):
        raise InputError(
            f"train.batch_size must be a multiple of processes times train.accumulate, {context.world_size} x "
            f"{settings.accumulate}, got {settings.batch_size}"
        )
    if settings.cuda_graph and (context.device.type != "cuda" or context.world_size > 1):
        raise InputError(
            f"train.cuda_graph needs one process on a CUDA device, got {context.world_size} on {context.device.type}"
        )
