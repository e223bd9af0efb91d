"""Arguments that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import UseAppendAction, arg

from pointseg.errors import InputError

if TYPE_CHECKING:
    from pointseg.config import Config
    from pointseg.rundir import RunDirectory

Device = Literal["auto", "cpu", "cuda"]
Split = Literal["train", "val", "test"]
Quiet = Annotated[bool, arg(help="Draw no progress bars; TQDM_DISABLE=1 in the environment says the same.")]
Overrides = Annotated[
    UseAppendAction[tuple[str, ...]],
    arg(name="set", metavar="SECTION.KEY=VALUE", help="Change a setting, e.g. --set train.lr=3e-4; may be repeated."),
]


def configuration(config: Path | None, overrides: tuple[str, ...], resumed: RunDirectory | None = None) -> Config:
    """The configuration of a file (None: the defaults), or of the run that is resumed, with the overrides."""
    from pointseg.config_file import load_config, parse_config

    if resumed is not None:
        if config is not None:
            raise InputError("train: --resume uses the run's own configuration; leave --config away")
        return resumed.load_config(overrides)
    return load_config(config, overrides) if config else parse_config("", overrides)
