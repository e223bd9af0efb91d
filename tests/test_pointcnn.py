"""PointCNN: X-Conv against a computation point by point, wiring and counts of the released network."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from pointseg.config import PointCNNConfig, XConvConfig
from pointseg.models import PointCNN
from pointseg.models.neighbours import nearest_neighbours
from pointseg.models.pointcnn import Dense, XConv, encoder_channels


def normalised(norm, row):
    return (row - norm.running_mean) / torch.sqrt(norm.running_var + norm.eps) * norm.weight + norm.bias


def dense(module: Dense, row):
    return normalised(module.norm, F.elu(module.linear.weight @ row))


def by_loops(layer: XConv, here, below, features):
    """X-Conv in evaluation mode for one cloud: a loop over points, neighbours, rows, columns and multipliers."""
    size, outputs = layer.neighbours, []
    for centre in here:
        distance = (below - centre).square().sum(1)
        order = sorted(range(len(below)), key=lambda j: distance[j].item())
        chosen = order[: size * layer.dilation : layer.dilation]
        local = [below[j] - centre for j in chosen]
        rows = [dense(layer.lift[1], dense(layer.lift[0], offset)) for offset in local]
        if features is not None:
            rows = [torch.cat([row, features[j]]) for row, j in zip(rows, chosen, strict=True)]
        x = dense(layer.transform.first, torch.cat(local)).view(size, size)
        for weight, norm, activated in (
            (layer.transform.second, layer.transform.second_norm, True),
            (layer.transform.third, layer.transform.third_norm, False),
        ):
            mixed = torch.zeros(size, size, dtype=x.dtype)
            for column in range(size):
                for new in range(size):
                    mixed[column, new] = sum(x[row, column] * weight[column, row, new] for row in range(size))
            mixed = mixed.flatten()
            x = normalised(norm, F.elu(mixed) if activated else mixed).view(size, size)
        mixed = [sum(x[i, j] * rows[j] for j in range(size)) for i in range(size)]
        summed = [sum(weight[i] * mixed[i] for i in range(size)) for weight in layer.depthwise]
        outputs.append(dense(layer.pointwise, torch.cat(summed)))
    return torch.stack(outputs)


@pytest.mark.parametrize("in_channels", [0, 5])
@pytest.mark.parametrize("dilation", [1, 2])
def test_xconv_equals_loops(in_channels, dilation):
    torch.manual_seed(0)
    config = XConvConfig(neighbours=4, dilation=dilation, channels=6)
    layer = XConv(config, in_channels, 3, multiplier=2).double()
    below = torch.randn(2, 12, 3, dtype=torch.float64)
    features = torch.randn(2, 12, in_channels, dtype=torch.float64) if in_channels else None
    for _ in range(20):
        layer(below[:, :5], below, features)  # moves the running statistics
    layer.eval()
    for cloud in range(2):
        expected = by_loops(layer, below[cloud, :5], below[cloud], features[cloud] if in_channels else None)
        torch.testing.assert_close(layer(below[:, :5], below, features)[cloud], expected, atol=1e-10, rtol=1e-8)


def test_released_network():
    """Widths and the number of weights; 11.54 M with the decoder wired as meant, biases and BatchNorm aside 11.51 M."""
    config = PointCNNConfig()
    model = PointCNN(21, config.encoder, config.decoder)
    assert encoder_channels(config.encoder) == (256, 512, 768, 1280)
    assert [layer.lift[0].linear.out_features for layer in model.encoder] == [128, 64, 128, 192]
    assert [layer.lift[0].linear.out_features for layer in model.decoder] == [256, 256, 192, 128]
    assert [len(layer.depthwise) for layer in model.encoder] == [4, 2, 2, 2]
    assert [layer.linear.in_features for layer in model.fuse] == [1024 + 1280, 768 + 768, 512 + 512, 256 + 256]
    assert sum(parameter.numel() for parameter in model.parameters()) / 1e6 == pytest.approx(11.54, abs=0.005)


def test_neighbours_are_exact_far_from_the_origin():
    points = torch.rand(1, 300, 3, generator=torch.Generator().manual_seed(0)) * 0.1 + 30.0
    distance = (points[0, :, None].double() - points[0, None].double()).square().sum(2)
    expected = distance.topk(5, largest=False).indices
    assert torch.equal(nearest_neighbours(points, points, 5)[0], expected)
    with pytest.raises(ValueError, match="count must be at most the 300 points, got 301"):
        nearest_neighbours(points, points, 301)


def test_layers_that_cannot_reach_their_neighbours():
    encoder = (XConvConfig(neighbours=4, channels=8), XConvConfig(neighbours=4, points=16, channels=8))
    decoder = (XConvConfig(neighbours=8, dilation=4, channels=8), XConvConfig(neighbours=4, channels=8))
    with pytest.raises(ValueError, match="must be at most the 16 points of the level below, got 32"):
        PointCNN(3, encoder, decoder)
    with pytest.raises(ValueError, match=r"the first layer must have points 0 \(all\).*got \[16, 0\]"):
        PointCNN(3, encoder[::-1], decoder)
