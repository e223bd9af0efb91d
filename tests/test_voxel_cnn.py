"""3DCNN: sliding the published network's window, cells, what points outside get, counts."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F

from pointseg.models import VoxelCNN
from pointseg.models.voxel_cnn import CELL, cells_of, occupancy


def by_loops(x, weight, bias, stride):
    """F.conv3d of one window, a cell of the output at a time."""
    kernel = weight.shape[2:]
    size = [(cells - taps) // stride + 1 for cells, taps in zip(x.shape[2:], kernel, strict=True)]
    output = torch.empty(1, len(weight), *size, dtype=x.dtype)
    for cell in itertools.product(*map(range, size)):
        seen = (slice(stride * first, stride * first + taps) for first, taps in zip(cell, kernel, strict=True))
        output[(0, slice(None), *cell)] = weight.flatten(1) @ x[(0, slice(None), *seen)].flatten() + bias
    return output


def one_window(model: VoxelCNN, window, convolution=F.conv3d):
    """The published network on one window [2, 62, 31, 31]: strides in all directions, then a fully connected layer."""
    x = window[None]
    for block in model.blocks:
        for module in block:
            if isinstance(module, torch.nn.Conv3d) and module.kernel_size != (1, 1, 1):
                x = convolution(x, module.weight, module.bias, stride=2)
            else:
                x = module(x)
    assert x.shape == (1, 128, 6, 3, 3)
    hidden = F.linear(x.flatten(), model.hidden.weight.flatten(1), model.hidden.bias).relu()
    return model.classifier(hidden).view(62, model.num_classes)


def test_all_columns_at_once_equal_a_sliding_window():
    torch.manual_seed(0)
    model = VoxelCNN(3, hidden=16).double()
    grid = (torch.rand(1, 2, 62, 34, 33) < 0.1).double()
    model.columns(grid)  # moves the running statistics
    model.eval()
    columns = model.columns(grid)
    assert columns.shape == (1, 4, 3, 62, 3)
    for y in range(4):
        for x in range(3):
            expected = one_window(model, grid[0, :, :, y : y + 31, x : x + 31])
            torch.testing.assert_close(columns[0, y, x], expected, atol=1e-12, rtol=1e-10)


def test_a_column_equals_loops():
    torch.manual_seed(0)
    model = VoxelCNN(3, hidden=16).double()
    window = (torch.rand(1, 2, 62, 31, 31) < 0.1).double()
    model.columns(window)
    model.eval()
    with torch.no_grad():
        column, expected = model.columns(window)[0, 0, 0], one_window(model, window[0], by_loops)
    torch.testing.assert_close(column, expected, atol=1e-12, rtol=1e-10)


def test_cells():
    xyz = torch.tensor([[[0.0, 0.0, 0.0], [-0.75, 0.7499, CELL], [-0.7501, 0.7501, 2.999], [-9.0, 0.0, -0.001]]])
    assert cells_of(xyz).tolist() == [[[30, 30, 0], [15, 45, 1], [14, 46, 61], [-156, 30, -1]]]


def test_occupied_and_known():
    grid = occupancy(torch.tensor([[[3, 4, 5], [3, 4, 7], [60, 60, 61], [-1, 0, 0], [0, 61, 0], [0, 0, 62]]]))
    assert grid.shape == (1, 2, 62, 61, 61)
    assert torch.equal(grid[0, 0].nonzero(), torch.tensor([[5, 4, 3], [7, 4, 3], [61, 60, 60]]))
    assert torch.equal(grid[0, 1, :, 4, 3], (torch.arange(62) >= 5).float())  # known from the lowest surface up
    assert grid[0, 1].sum() == (62 - 5) + 1


def test_points_have_the_logits_of_their_cell_or_the_nearest_labelled_one():
    torch.manual_seed(0)
    model = VoxelCNN(4, hidden=16).eval()
    xyz = torch.tensor([[[0.3, -0.2, 1.0], [0.31, -0.21, 1.01], [0.74, 0.0, 0.5], [1.2, 0.0, 0.5], [1.2, 0.0, -0.3]]])
    xyz = (cells_of(xyz) - torch.tensor([30.5, 30.5, 0.0]) + 0.5) * CELL + torch.tensor([0.0, 0.0, 1e-3])
    with torch.no_grad():
        logits, columns = model(xyz)[0], model.columns(occupancy(cells_of(xyz)))[0]
    cell = cells_of(xyz)[0]
    for point, (x, y, z) in zip(logits[:3], cell[:3].tolist(), strict=True):
        torch.testing.assert_close(point, columns[y - 15, x - 15, z])
    _, y, z = cell[3].tolist()
    torch.testing.assert_close(logits[3], columns[y - 15, 30, z])
    torch.testing.assert_close(logits[4], columns[y - 15, 30, 0])
    with pytest.raises(ValueError, match="features must be None"):
        model(xyz, torch.zeros(1, 5, 1))


@pytest.mark.parametrize(("classes", "millions"), [(21, 8.83), (42, 10.16)])
def test_published_number_of_parameters(classes, millions):
    count = sum(parameter.numel() for parameter in VoxelCNN(classes).parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.005)
