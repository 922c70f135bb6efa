"""Checks of the dataclasses in ``config``: the types and the rules that their fields are held to."""

from __future__ import annotations

import math
import numbers
import reprlib
from typing import Any, get_args, get_type_hints

from scoread_jax.errors import ConfigError

Rule = tuple[bool, str]  # whether a value is good, and what it must be


def convert_fields(config: Any, prefix: str = "") -> None:
    """Give every field of a frozen dataclass its declared type.

    A whole number will do for a float, and a number or a list for a tuple of numbers.

    Args:
        config: changed in place.
        prefix: of its keys, for messages: ``"train."``.

    Raises:
        ConfigError: for a value of another type, and for a number that no float holds.
    """
    for name, kind in get_type_hints(type(config)).items():
        object.__setattr__(config, name, _convert(prefix + name, getattr(config, name), kind))


def require(config: Any, prefix: str = "", **rules: Rule) -> None:
    """Hold fields of a dataclass to their rules.

    Args:
        config: the dataclass.
        prefix: of its keys, for messages.
        **rules: by field.

    Raises:
        ConfigError: naming key, rule and value of the first that is broken.
    """
    for name, (good, expected) in rules.items():
        _require(prefix + name, getattr(config, name), good, expected)


def one_of(value: str, *choices: str) -> Rule:
    """Make the rule that a value is one of these."""
    return value in choices, f"one of {', '.join(choices)}"


def _require(key: str, value: Any, good: bool, expected: str) -> None:
    if not good:
        raise ConfigError(f"{key} must be {expected}, found {reprlib.repr(value)}")


def _convert(key: str, value: Any, kind: Any) -> Any:
    if kind is float:
        _require(key, value, _is_number(value), _PLAIN[kind])
        return float(value)
    if kind is int:
        whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
        _require(key, value, whole, _PLAIN[kind])
        return int(value)
    if isinstance(kind, type):
        _require(key, value, isinstance(value, kind), _PLAIN.get(kind, f"a {kind.__name__}"))
        return value
    entry = get_args(kind)[0]
    entries = list(value) if isinstance(value, list | tuple) else [value]
    try:
        return tuple(_convert(key, one, entry) for one in entries)
    except ConfigError as error:
        raise ConfigError(f"{key} must be a list, each {_PLAIN[entry]}, found {reprlib.repr(value)}") from error


_PLAIN = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:  # a whole number of more than 308 digits
        return False
