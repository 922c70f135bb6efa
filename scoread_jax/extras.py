"""Optional dependencies: imported when they are first needed, with one sentence where they are missing."""

from __future__ import annotations

import importlib
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
        package = module.partition(".")[0]
        raise MissingExtraError(
            f"expected {package}, found it is not installed; pip install 'scoread-jax[{name}]'"
        ) from error
