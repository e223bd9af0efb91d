"""Arguments that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import UseAppendAction, arg

from pointseg.errors import InputError

Device = Literal["auto", "cpu", "cuda"]
Split = Literal["train", "val", "test"]
Quiet = Annotated[bool, arg(help="Draw no progress bars; TQDM_DISABLE=1 in the environment says the same.")]
Overrides = Annotated[
    UseAppendAction[tuple[str, ...]],
    arg(name="set", metavar="SECTION.KEY=VALUE", help="Change a setting, e.g. --set train.lr=3e-4; may be repeated."),
]


def configuration(config: Path | None, overrides: tuple[str, ...], resumed: object = None):
    """The configuration of a file, or on resume of the run, with the overrides."""
    from pointseg.config_file import load_config, parse_config

    if resumed is not None:
        if config is not None:
            raise InputError("train: --resume uses the run's own configuration; leave --config away")
        return resumed.load_config(overrides)
    return load_config(config, overrides) if config else parse_config("", overrides)
