"""`pointseg config`: the settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from pointseg.cli.arguments import Overrides, configuration


def show_config(
    *, config: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None, overrides: Overrides = ()
) -> None:
    """Print the whole configuration: the defaults, changed by a file and by --set.

    Args:
        config: YAML file of what differs from the defaults, or the name of one of the package's, as pointnet2_ssg.
    """
    from pointseg.config_file import dump_config

    print(dump_config(configuration(config, overrides)), end="")
