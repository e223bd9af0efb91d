"""3DCNN: dense 3D convolutions over occupancy, one column of labels for each column of cells.

Source: Dai, Chang, Savva, Halber, Funkhouser, Niessner, "ScanNet", CVPR 2017, section 5.2, and its released network.
That network sees 31 x 31 x 62 cells and labels the 62 cells of the centre column; a scene is labelled by sliding it.
Here all columns of a block are labelled in one pass: the strides over x and y become dilations, so that neighbouring
windows share what they have in common. The function is the same (a test slides the window). z keeps its strides.

The second input channel says which cells a camera has seen. A mesh does not tell; here a cell is known when it lies at
or above the lowest occupied cell of its column.

B batch, N points, X, Y, Z cells, C channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

CELL = 1.5 / 31  # side of a cell, metres
LABELLED = 31  # columns of a block in x and in y that get labels
MARGIN = 15  # cells seen around them
HEIGHT = 62  # cells above the floor; what is higher is not seen
WIDTHS = (32, 64, 128)


class VoxelCNN(nn.Module):
    """Logits for every point, those of its cell: `forward(xyz [B, N, 3]) -> [B, N, num_classes]`.

    `xyz` is relative to the block's centre in x and y and to the floor in z (`data.center`). Points outside the middle
    1.5 x 1.5 m get the logits of the nearest labelled cell: they are there to be seen (`data.context` 0.73 m).

    Args:
        num_classes: outputs per cell.
        hidden: channels of the fully connected layer.
        dropout: share of its outputs that is dropped in training; 0.2 of the channels are after each convolution block.
    """

    def __init__(self, num_classes: int, *, hidden: int = 1024, dropout: float = 0.5) -> None:
        super().__init__()
        self.num_classes = num_classes
        blocks, channels = [], 2
        for number, width in enumerate(WIDTHS):
            blocks.append(_block(channels, width, dilation=2**number))
            channels = width
        self.blocks = nn.Sequential(*blocks)
        # 6 x 3 x 3 cells are left of a window after three strides; a fully connected layer over them is a convolution.
        self.hidden = nn.Conv3d(channels, hidden, (6, 3, 3), dilation=(1, 8, 8))
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(hidden, HEIGHT * num_classes)
        _initialise(self)

    def forward(self, xyz: Tensor, features: None = None) -> Tensor:
        if features is not None:
            raise ValueError(f"features must be None: the network sees occupancy alone, got {list(features.shape)}")
        cell = cells_of(xyz)
        logits = self.columns(occupancy(cell))  # [B, Y, X, Z, C]
        x, y = (cell[..., axis].sub(MARGIN).clamp(0, LABELLED - 1) for axis in (0, 1))
        z = cell[..., 2].clamp(0, HEIGHT - 1)
        batch = torch.arange(len(xyz), device=xyz.device).unsqueeze(1)
        return logits[batch, y, x, z]

    def columns(self, grid: Tensor) -> Tensor:
        """`grid` [B, 2, 62, Y, X] -> logits [B, Y - 30, X - 30, 62, num_classes] of the columns that have a margin."""
        x = self.hidden(self.blocks(grid)).squeeze(2).relu()  # [B, hidden, Y - 30, X - 30]
        x = self.classifier(self.dropout(x.permute(0, 2, 3, 1)))
        return x.unflatten(3, (HEIGHT, self.num_classes))


def cells_of(xyz: Tensor) -> Tensor:
    """Indices x, y, z [B, N, 3] int64 of the points' cells in the block's grid; outside it where there is no cell."""
    x, y, z = (xyz.float() / CELL).unbind(2)
    middle = 0.5 * LABELLED + MARGIN
    return torch.stack([x + middle, y + middle, z], dim=2).floor().long()


def occupancy(cell: Tensor) -> Tensor:
    """The network's input [B, 2, 62, 61, 61] float32, z, y, x, from `cell` [B, N, 3]: occupied, and known."""
    side = LABELLED + 2 * MARGIN
    x, y, z = cell.unbind(2)
    inside = (cell >= 0).all(dim=2) & (x < side) & (y < side) & (z < HEIGHT)
    index = torch.where(inside, (z * side + y) * side + x, HEIGHT * side * side)  # the last one takes what is outside
    flat = torch.zeros(len(cell), HEIGHT * side * side + 1, device=cell.device)
    occupied = flat.scatter_(1, index, 1.0)[:, :-1].view(-1, HEIGHT, side, side)
    return torch.stack([occupied, occupied.cummax(dim=1).values], dim=1)


def _block(in_channels: int, channels: int, *, dilation: int) -> nn.Sequential:
    """Three convolutions, the first 4 x 3 x 3 with stride 2 over z and dilation over y and x; then dropped channels."""
    layers: list[nn.Module] = []
    for number in range(3):
        convolution = (
            nn.Conv3d(in_channels, channels, (4, 3, 3), stride=(2, 1, 1), dilation=(1, dilation, dilation))
            if number == 0
            else nn.Conv3d(channels, channels, 1)
        )
        layers += [convolution, nn.BatchNorm3d(channels), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Dropout3d(0.2))


def _initialise(model: nn.Module) -> None:
    """He's normal distribution over what a channel gives, as the released network has it; biases 0."""
    for module in model.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(module.bias)
