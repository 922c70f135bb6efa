"""Optional dependencies: imported when they are first needed, with one sentence where they are missing."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import Any

from scoread_jax.errors import MissingExtraError


def extra(module: str, name: str) -> Any:
    """Import an optional dependency.

    Args:
        module: what to import.
        name: of the extra that installs it.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise _missing(module, name) from error


def expect(module: str, name: str) -> None:
    """Require an optional dependency that another process imports.

    Args:
        module: a package.
        name: of the extra that installs it.

    Raises:
        MissingExtraError: it is not installed.
    """
    if find_spec(module) is None:
        raise _missing(module, name)


def _missing(module: str, name: str) -> MissingExtraError:
    package = module.partition(".")[0]
    return MissingExtraError(f"expected {package}, found it is not installed; pip install 'scoread-jax[{name}]'")
