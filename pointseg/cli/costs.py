"""`pointseg costs`: what the networks and their context modules cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from pointseg.cli.arguments import Device
from pointseg.errors import InputError


def costs(
    configs: Positional[Annotated[tuple[Path, ...], arg(metavar="CONFIG")]] = (),
    /,
    *,
    images: bool = False,
    batch: int = 8,
    rounds: int = 5,
    device: Device = "auto",
) -> None:
    """Parameters, FLOPs, activation memory and time of networks, beside the paper's figures.

    Args:
        configs: YAML files, or names of the package's; none: the rows of the paper's Table 3.
        images: Instead the context modules in Mask R-CNN, the rows of the paper's Tables 1 and 2.
        batch: Clouds of a training step.
        rounds: Training steps to take the median time of; 0 times none.
        device: Where they are timed.
    """
    if images:
        from pointseg.images.costs import format_image_costs

        print(format_image_costs(), end="")
        return
    if batch < 1 or rounds < 0:
        raise InputError(f"costs: --batch must be positive and --rounds 0 or more, got {batch} and {rounds}")

    from pointseg.config_file import load_config
    from pointseg.distributed import distributed_context
    from pointseg.models.cost_tables import format_costs
    from pointseg.models.costs import network_cost
    from pointseg.reproduction.rows import OTHER_ROWS, ROWS

    networks = []
    with distributed_context(device) as here:
        for path in configs or [row.file for row in (*ROWS, *OTHER_ROWS)]:
            config = load_config(path)
            networks.append((config.model, network_cost(config, batch, rounds, here.device)))
    print(format_costs(networks, batch), end="")
