"""Configurations as strict YAML: `load_config` reads what `dump_config` writes.

A YAML file holds what differs from the defaults. An unknown key, a value of the wrong type and a value out of range are
`InputError`s that name the key as `train.lr`.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import yaml

from pointseg.config import Config, as_tree
from pointseg.config_checks import OutOfRange
from pointseg.errors import InputError

PACKAGED = Path(__file__).parent / "configs"  # an experiment each


def load_config(path: Path, overrides: Iterable[str] = ()) -> Config:
    """Reads a YAML file of differences from the defaults; then applies `overrides`, each `section.key=value`.

    Where there is no file `path`, `NAME`, `NAME.yaml` and `configs/NAME.yaml` are the package's own configuration.
    """
    packaged = PACKAGED / f"{path.stem}.yaml"
    if not path.exists() and path.parent in (Path(), Path("configs")) and path.suffix in ("", ".yaml"):
        if not packaged.exists():
            names = ", ".join(sorted(file.stem for file in PACKAGED.glob("*.yaml")))
            raise InputError(f"config: expected a YAML file, or one of the package's ({names}), got {path}")
        path = packaged
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"config: cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"config: {path} must be a YAML text, got a file that is not UTF-8") from None
    return parse_config(text, overrides, source=str(path))


def parse_config(text: str, overrides: Iterable[str] = (), *, source: str = "config") -> Config:
    """`load_config` on a string; `source` is what errors call it."""
    tree = _parse_yaml(text, source) or {}
    if not isinstance(tree, dict):
        raise InputError(f"{source}: expected a mapping of sections, got {type(tree).__name__}")
    _check_keys(Config, tree, source, "")
    overrides = list(overrides)
    for override in overrides:
        _apply_override(tree, override)
    source += " with --set" if overrides else ""
    try:
        return msgspec.convert(tree, Config)
    except msgspec.ValidationError as error:
        # "Expected `float`, got `str` - at `$.train.lr`", or of an OutOfRange "lr must be ... - at `$.train`".
        message, _, place = str(error).partition(" - at `$")
        separator = "." if isinstance(error.__cause__, OutOfRange) else ": "
        name = place.rstrip("`").lstrip(".")
        said = message[:1].lower() + message[1:]
        if message.startswith("Invalid enum value"):
            said += f"; expected one of {', '.join(map(str, _choices(name)))}"
        raise InputError(f"{source}: {name + separator if name else ''}{said}") from None
    except InputError as error:
        raise InputError(f"{source}: {error}") from None


def _choices(key: str) -> tuple[Any, ...]:
    """What a setting such as `evaluate.protocols[0]` may be, where that is one of a few words."""
    kind: Any = Config
    for name, index in re.findall(r"(\w+)(\[)?", re.sub(r"\d+\]", "", key)):
        kind = typing.get_type_hints(kind)[name]
        kind = typing.get_args(kind)[0] if index else kind
    return typing.get_args(kind)


def dump_config(config: Config) -> str:
    """The whole resolved configuration as YAML that `parse_config` reads back to an equal `Config`."""
    return yaml.safe_dump(as_tree(config), sort_keys=False, default_flow_style=None, width=110)


def changed_keys(one: Config, other: Config) -> list[str]:
    """The dotted names of the settings in which two configurations differ."""
    return _changed(as_tree(one), as_tree(other), "")


def _changed(one: Any, other: Any, prefix: str) -> list[str]:
    if isinstance(one, dict):
        return [key for name in one for key in _changed(one[name], other[name], f"{prefix}.{name}" if prefix else name)]
    return [] if one == other else [prefix]


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads 1e-3 as a number, as YAML 1.2 does (YAML 1.1 wants 1.0e-3), and refuses repeated keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def _parse_yaml(text: str, source: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise InputError(f"{source}: not valid YAML: {' '.join(str(error).split())}") from None


def _apply_override(tree: dict[str, Any], override: str) -> None:
    """Writes `section.key=value` into `tree`; the value is read as YAML."""
    dotted, equals, value = override.partition("=")
    if not equals:
        raise InputError(f"--set: expected section.key=value, got {override!r}")
    *parents, last = dotted.split(".")
    parsed = _parse_yaml(value, "--set")
    nested: dict[str, Any] = {last: parsed}
    for name in reversed(parents):
        nested = {name: nested}
    _check_keys(Config, nested, "--set", "")
    branch = tree
    for name in parents:
        branch = branch.setdefault(name, {})
        if not isinstance(branch, dict):
            raise InputError(f"--set {dotted}: {name} is not a section in the file, but {branch!r}")
    branch[last] = parsed


def _check_keys(kind: Any, value: Any, source: str, prefix: str) -> None:
    """Raises on the first key of `value` that the dataclass `kind` does not have, with the nearest one it has."""
    if typing.get_origin(kind) is tuple and isinstance(value, list):
        for number, item in enumerate(value):
            _check_keys(typing.get_args(kind)[0], item, source, f"{prefix[:-1]}[{number}].")
        return
    if not (dataclasses.is_dataclass(kind) and isinstance(value, dict)):
        return
    types = typing.get_type_hints(kind)
    for key, item in value.items():
        if key not in types:
            near = difflib.get_close_matches(str(key), types, n=1, cutoff=0.0)[0]
            raise InputError(f"{source}: unknown key {prefix}{key}; the nearest known one is {prefix}{near}")
        _check_keys(types[key], item, source, f"{prefix}{key}.")
