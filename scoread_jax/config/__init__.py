"""Configuration: frozen dataclasses, read from TOML, checked when made.

A preset is a TOML file; ``configs/`` holds the ones that ship. Keys that are not known are errors.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import itertools
import os
import reprlib
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints

from scoread_jax.config.groups import (
    ClosedFormConfig,
    Config,
    ContextConfig,
    DetectConfig,
    FusionConfig,
    NetworkConfig,
    SDEConfig,
    TrainConfig,
    ViewConfig,
)
from scoread_jax.errors import ConfigError

__all__ = [
    "ClosedFormConfig",
    "Config",
    "ContextConfig",
    "DetectConfig",
    "FusionConfig",
    "NetworkConfig",
    "SDEConfig",
    "TrainConfig",
    "ViewConfig",
    "as_table",
    "from_table",
    "keys",
    "load",
    "presets",
    "replace",
    "to_toml",
]


def load(name: str | Path) -> Config:
    """Read a preset by name (``"demo"``) or a TOML file by path.

    Raises:
        ConfigError: for a file that is missing or not TOML, and for keys or values that are not valid.
    """
    path = _find(name)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: expected a TOML file, found that it cannot be read ({error})") from error
    try:
        return from_table(table)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def presets() -> list[str]:
    """List the names that ``load`` knows."""
    return sorted(path.stem for path in _preset_folder().glob("*.toml"))


@functools.cache
def keys() -> dict[str, tuple[type, Any, str]]:
    """List every key with its type, default and description: ``{"train.epochs": (int, 100, "…")}``."""
    return _keys(Config, Config(), "")


def from_table(table: Mapping[str, Any]) -> Config:
    """Make a configuration from nested tables; what is not given keeps its default.

    Raises:
        ConfigError: for a key that is not known (naming the nearest that is) or a value of the wrong type.
    """
    groups = {key.partition(".")[0] for key in keys() if "." in key}
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if key in groups and not isinstance(value, Mapping):
            raise ConfigError(f"{key} must be a table of keys, found {reprlib.repr(value)}")
        if isinstance(value, Mapping) and (value or key in groups):
            flat |= {f"{key}.{name}": entry for name, entry in value.items()}
        else:
            flat[key] = value
    return replace(Config(), flat)


def replace(config: Config, values: Mapping[str, Any]) -> Config:
    """Replace some values of a configuration, by dotted key: ``{"train.epochs": 5}``.

    Raises:
        ConfigError: for a key that is not known or a value that is not valid.
    """
    known = keys()
    groups: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
            raise ConfigError(f"unknown key {key!r}: the nearest valid one is {near[0]!r}")
        group, _, field = key.rpartition(".")
        groups.setdefault(group, {})[field] = value
    top = groups.pop("", {})
    parts = {group: dataclasses.replace(getattr(config, group), **fields) for group, fields in groups.items()}
    return dataclasses.replace(config, **parts, **top)


def as_table(config: Config) -> dict[str, Any]:
    """Return the configuration as nested dictionaries of plain values, for TOML or JSON."""
    return dataclasses.asdict(config)


def to_toml(config: Config) -> str:
    """Write the configuration as TOML text that ``load`` reads back."""
    table = as_table(config)
    lines = [f"{key} = {_toml_value(value)}" for key, value in table.items() if not isinstance(value, dict)]
    for group, fields in table.items():
        if isinstance(fields, dict):
            lines += ["", f"[{group}]"] + [f"{key} = {_toml_value(value)}" for key, value in fields.items()]
    return "\n".join(lines) + "\n"


def _keys(kind: type, default: Any, prefix: str) -> dict[str, tuple[type, Any, str]]:
    hints, descriptions, found = get_type_hints(kind), _descriptions(kind), {}
    for field in dataclasses.fields(kind):
        value = getattr(default, field.name)
        if dataclasses.is_dataclass(value):
            found |= _keys(type(value), value, f"{prefix}{field.name}.")
        else:
            found[prefix + field.name] = (hints[field.name], value, descriptions.get(field.name, ""))
    return found


def _descriptions(kind: type) -> dict[str, str]:
    """Find the string under each field: the one place where an option is described."""
    import ast

    found = {}
    for field, text in itertools.pairwise(_class_bodies(kind.__module__)[kind.__name__]):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(words))):
                found[name] = " ".join(words.split())
    return found


@functools.cache
def _class_bodies(module: str) -> dict[str, Sequence[Any]]:
    """Statements of each class of a module, as ``ast`` has them; ``inspect`` would parse the module for every class."""
    import ast
    import inspect

    parsed = ast.parse(inspect.getsource(sys.modules[module]))
    return {node.name: node.body for node in parsed.body if isinstance(node, ast.ClassDef)}


def _toml_value(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml_value(entry) for entry in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return repr(value)


def _find(name: str | Path) -> Path:
    path = Path(name)
    if path.suffix == ".toml" or path.parent != Path():
        if not os.path.isfile(path):
            raise ConfigError(f"{path}: expected a TOML file, found none there; check the path")
        return path
    preset = _preset_folder() / f"{name}.toml"
    if not os.path.isfile(preset):
        raise ConfigError(f"no preset called {str(name)!r}: choose one of {', '.join(presets())}, or give a .toml file")
    return preset


def _preset_folder() -> Path:
    package = Path(__file__).resolve().parent.parent
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"
