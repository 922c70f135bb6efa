"""A user's own functions, by file and name: ``my_sde.py:my_sde``.

Only what the user names on the command line or in a program is run; nothing that a file or a detector says.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from scoread_jax.errors import ConfigError


def load(place: str) -> Any:
    """Run a Python file and take one name from it.

    Args:
        place: ``FILE.py:NAME``.

    Raises:
        ConfigError: for a place of another form, a file that is missing or fails, or a name that is not in it.
    """
    file, colon, name = place.rpartition(":")
    path = Path(file)
    if not colon or path.suffix != ".py" or not name.isidentifier():
        raise ConfigError(f"expected FILE.py:NAME, for example my_sde.py:my_sde, found {place!r}")
    if not path.is_file():
        raise ConfigError(f"{path}: expected a Python file that defines {name}, found no such file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever the user's file does
        raise ConfigError(f"{path}: expected a Python file that runs, found {type(error).__name__}: {error}") from error
    if not hasattr(module, name):
        known = ", ".join(key for key in vars(module) if not key.startswith("_")) or "nothing"
        raise ConfigError(f"{path}: expected a definition of {name}, found {known}")
    return getattr(module, name)
