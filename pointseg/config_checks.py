"""What values of settings may be. Each check raises an `OutOfRange` that names the first setting out of range."""

from __future__ import annotations

from typing import Any

from pointseg.errors import InputError


class OutOfRange(InputError, ValueError):
    """A setting's value. The message begins with the name of the setting within its section.

    A ValueError too, because msgspec says of those in which section of the file they were raised.
    """


def positive(config: Any, *names: str) -> None:
    """Numbers must be > 0; tuples must not be empty and hold numbers > 0."""
    for name in names:
        value = getattr(config, name)
        numbers = _numbers(value)
        if value == () or any(number <= 0 for number in numbers):
            raise OutOfRange(f"{name} must be {'positive' if numbers else 'non-empty'}, got {value}")


def _numbers(value: Any) -> list[float]:
    if isinstance(value, tuple):
        return [number for item in value for number in _numbers(item)]
    return [value] if isinstance(value, (int, float)) else []


def not_negative(config: Any, *names: str) -> None:
    for name in names:
        if getattr(config, name) < 0:
            raise OutOfRange(f"{name} must be 0 or more, got {getattr(config, name)}")


def share(config: Any, *names: str) -> None:
    for name in names:
        if not 0 <= getattr(config, name) <= 1:
            raise OutOfRange(f"{name} must be between 0 and 1, got {getattr(config, name)}")
