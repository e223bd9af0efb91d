"""`load_reference_state_dict`: LatentGNN equals the authors' released module, stated here in NumPy, in float64.

B batch, C channels, c reduced channels, N positions, d latent nodes.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from pointseg.models import LatentGNN

DIMS = {1: (5,), 3: (4, 2, 3)}


def released_state(
    channels: int, dims: tuple[int, ...], stride: int, mode: str, graph_conv: bool, norm: str, seed: int = 0
) -> dict[str, np.ndarray]:
    """The state dict of the released module with random values: its names and shapes, 1 x 1 convolutions in 4-D."""
    rng = np.random.default_rng(seed)
    reduced = channels // stride
    state = {"gamma": rng.normal(size=1)}

    def block(name: str, inputs: int, outputs: int) -> None:
        state[f"{name}.0.weight"] = rng.normal(size=(outputs, inputs, 1, 1))
        if norm != "none":
            for entry in ("weight", "bias", "running_mean"):
                state[f"{name}.1.{entry}"] = rng.normal(size=outputs)
            state[f"{name}.1.running_var"] = rng.uniform(0.5, 2, outputs)
        if norm == "batch":
            state[f"{name}.1.num_batches_tracked"] = np.array(7)

    for suffix in ["_v2l", "_l2v"] if mode == "asymmetric" else [""]:
        block(f"down_channel{suffix}", channels, reduced)
        for i, d in enumerate(dims):
            block(f"LatentGNN_Kernel_{i}.psi{suffix}", reduced, d)
    if graph_conv:
        for i in range(len(dims)):
            block(f"LatentGNN_Kernel_{i}.GraphConvWeight", reduced, reduced)
    block("up_channel", reduced * len(dims), channels)
    return state


class Released:
    """The released module's forward pass on `[B, C, N]`; in training mode it moves the state's running statistics."""

    def __init__(self, state: dict[str, np.ndarray], norm: str, training: bool) -> None:
        self.state, self.training = state, training
        self.normalise = {"batch": self._batch, "frozen": self._frozen, "none": lambda x, name: x}[norm]

    def __call__(self, x: np.ndarray, kernels: int, mode: str, graph_conv: bool, residual: bool) -> np.ndarray:
        if mode == "asymmetric":
            collect_from = unit(self._block(x, "down_channel_v2l"), axis=1)
            scatter_from = unit(self._block(x, "down_channel_l2v"), axis=1)
        else:
            collect_from = unit(self._block(x, "down_channel"), axis=1)
        visible = []
        for i in range(kernels):
            name = f"LatentGNN_Kernel_{i}"
            if mode == "asymmetric":
                collect = unit(relu(self._block(collect_from, f"{name}.psi_v2l")), axis=2)  # [B, d, N]
                scatter = unit(relu(self._block(scatter_from, f"{name}.psi_l2v")), axis=1)
            else:
                collect = scatter = unit(relu(self._block(collect_from, f"{name}.psi")), axis=1)
            nodes = collect @ collect_from.transpose(0, 2, 1)  # [B, d, c]
            cosine = unit(nodes, axis=2) @ unit(nodes, axis=2).transpose(0, 2, 1)
            weights = np.exp(cosine) / np.exp(cosine).sum(axis=2, keepdims=True)
            seen = (weights @ nodes).transpose(0, 2, 1) @ scatter  # [B, c, N]
            visible.append(relu(self._block(seen, f"{name}.GraphConvWeight")) if graph_conv else seen)
        up = self._block(np.concatenate(visible, axis=1), "up_channel")
        return x + up * self.state["gamma"] if residual else up

    def _block(self, x: np.ndarray, name: str) -> np.ndarray:
        """1 x 1 convolution and normalisation."""
        return self.normalise(self.state[f"{name}.0.weight"][:, :, 0, 0] @ x, f"{name}.1")

    def _batch(self, x: np.ndarray, name: str) -> np.ndarray:
        mean, variance = self.state[f"{name}.running_mean"], self.state[f"{name}.running_var"]
        if self.training:
            count = x.shape[0] * x.shape[2]
            batch_mean, batch_variance = x.mean(axis=(0, 2)), x.var(axis=(0, 2))
            self.state[f"{name}.running_mean"] = 0.9 * mean + 0.1 * batch_mean
            self.state[f"{name}.running_var"] = 0.9 * variance + 0.1 * batch_variance * count / (count - 1)
            self.state[f"{name}.num_batches_tracked"] = self.state[f"{name}.num_batches_tracked"] + 1
            mean, variance = batch_mean, batch_variance
        return self._affine(x, name, mean, variance + 1e-5)

    def _frozen(self, x: np.ndarray, name: str) -> np.ndarray:
        return self._affine(x, name, self.state[f"{name}.running_mean"], self.state[f"{name}.running_var"])

    def _affine(self, x: np.ndarray, name: str, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
        scale = self.state[f"{name}.weight"] / np.sqrt(variance)
        return (x - mean[:, None]) * scale[:, None] + self.state[f"{name}.bias"][:, None]


def unit(x: np.ndarray, axis: int) -> np.ndarray:
    return x / np.maximum(np.sqrt((x**2).sum(axis=axis, keepdims=True)), 1e-12)


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def as_tensors(state: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.array(value)) for name, value in state.items()}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("norm", ["batch", "frozen", "none"])
@pytest.mark.parametrize("graph_conv", [True, False])
@pytest.mark.parametrize("mode", ["asymmetric", "symmetric"])
def test_equals_the_released_module(mode, graph_conv, norm, training):
    """13 channels with stride 3 are 4 reduced ones, as there. The running statistics move alike, too."""
    for kernels, residual in itertools.product((1, 3), (True, False)):
        state = released_state(13, DIMS[kernels], 3, mode, graph_conv, norm)
        module = LatentGNN(13, DIMS[kernels], 3, mode=mode, graph_conv=graph_conv, norm=norm, residual=residual)
        module.double().train(training).load_reference_state_dict(as_tensors(state))
        x = np.random.default_rng(1).normal(size=(2, 13, 12))
        with torch.no_grad():
            output = module(torch.from_numpy(x).unflatten(2, (3, 4))).flatten(2)
        expected = Released(state, norm, training)(x, kernels, mode, graph_conv, residual)
        torch.testing.assert_close(output, torch.from_numpy(expected), rtol=1e-9, atol=1e-9)

        again = LatentGNN(13, DIMS[kernels], 3, mode=mode, graph_conv=graph_conv, norm=norm).double()
        again.load_reference_state_dict(as_tensors(state))  # as the statement's forward pass left it
        for name, tensor in again.state_dict().items():
            torch.testing.assert_close(module.state_dict()[name], tensor, rtol=1e-9, atol=1e-9, msg=name)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda s: s.pop("gamma"), "must have gamma"),
        (lambda s: s.pop("LatentGNN_Kernel_1.psi_l2v.0.weight"), r"must have LatentGNN_Kernel_1\.psi_l2v\.0\.weight"),
        (lambda s: s.update(extra=s["gamma"]), "extra is left over"),
        (lambda s: s.update({"up_channel.1.bias": s["gamma"]}), r"expand\.norm\.bias must be \[8\], got \[1\]"),
        (lambda s: [s.pop(f"LatentGNN_Kernel_{i}.GraphConvWeight.0.weight") for i in (0, 1, 2)], "left over"),
        (lambda s: s.pop("up_channel.1.weight"), r"expand\.norm\.weight is missing"),
    ],
)
def test_a_state_dict_of_other_settings_is_named_and_changes_nothing(change, part):
    state = released_state(8, DIMS[3], 2, "asymmetric", True, "batch")
    change(state)
    module = LatentGNN(8, DIMS[3], 2)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with pytest.raises(ValueError, match=part):
        module.load_reference_state_dict(as_tensors(state))
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())


def test_a_state_dict_without_graph_convolution_needs_a_module_without():
    state = as_tensors(released_state(8, DIMS[3], 2, "asymmetric", False, "batch"))
    with pytest.raises(ValueError, match=r"activation\.0\.bias is missing"):
        LatentGNN(8, DIMS[3], 2).load_reference_state_dict(state)
    with pytest.raises(ValueError, match="mixture must be 'features'"):
        LatentGNN(8, DIMS[3], 2, mixture="affinity").load_reference_state_dict(state)
