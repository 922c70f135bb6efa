"""Trained detectors on disk: Orbax for the arrays, sealed JSON for the rest.

A directory appears complete or not at all.
"""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np

from scoread_jax import tracking
from scoread_jax.checkpoint import arrays, record, seal
from scoread_jax.detect import Detector
from scoread_jax.errors import CheckpointError
from scoread_jax.views import View

FORMAT = 3
_READABLE = (2, FORMAT)  # 2: without a digest for each array
_META = "detector.json"
_ARRAYS = "arrays"


def save(directory: str | Path, detector: Detector) -> None:
    """Write a trained detector to a new directory, or in place of an older detector.

    Raises:
        CheckpointError: when the directory holds something else, or cannot be written. What was there stays.
    """
    check_target(directory)
    if any(detector.functions):
        raise CheckpointError(
            f"{directory}: expected a detector of named functions, found one with a user's own, which no file can "
            "hold; train and score in one go"
        )
    target = Path(os.path.realpath(directory))
    fresh, old = (target.with_name(f".{target.name}.{secrets.token_hex(4)}") for _ in range(2))
    tree = jax.tree.map(np.asarray, _arrays(detector))
    try:
        fresh.mkdir(parents=True)
        arrays.write(fresh / _ARRAYS, tree)
        described = {"format": FORMAT, "arrays": arrays.describe(tree)}
        seal.write(fresh, _META, record.describe(detector) | described)
        if target.exists():
            target.rename(old)
        fresh.rename(target)
    except Exception as error:  # the system's, or whatever Orbax makes of it
        raise CheckpointError(
            f"{directory}: expected to write a detector there, found: {seal.reason(error)}; choose another place"
        ) from error
    finally:
        if old.exists() and not target.exists():
            old.rename(target)
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def check_target(directory: str | Path) -> None:
    """Refuse to write a detector over something that is not one.

    Raises:
        CheckpointError: naming the directory.
    """
    found = _strangers(directory)
    if found:
        raise CheckpointError(
            f"{directory}: expected a new or empty directory, or an older detector to replace, "
            f"found {found}; choose another place"
        )


def load(directory: str | Path) -> Detector:
    """Read a detector that ``save`` wrote, every file of it checked against its digest.

    Raises:
        CheckpointError: for a directory that is missing, damaged, or of a newer format.
    """
    directory = Path(directory)
    meta = _read_meta(directory)
    try:
        config = seal.configuration_of(directory / _META, meta)
        tree = arrays.read(directory / _ARRAYS, meta["arrays"])
        return Detector(
            config,
            tree["variables"],
            *record.fitted(meta),
            View(config.view.kind == "root", **tree["view"]) if "view" in tree else None,
        )
    except CheckpointError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise seal.damaged(directory / _META, f"it makes no detector: {seal.reason(error)}") from error


def identity(directory: str | Path) -> str:
    """SHA-256 of all that a detector's directory holds.

    Raises:
        CheckpointError: for a directory that is missing or damaged.
    """
    return _read_meta(Path(directory))["sha256"]


def _read_meta(directory: Path) -> dict[str, Any]:
    if not os.path.isfile(directory / _META):
        raise CheckpointError(
            f"{directory}: expected a detector made by `scoread train` or `scoread import-weights`, "
            f"found no {_META} there; check the path"
        )
    return seal.read(directory, _META, _READABLE)


def _strangers(directory: str | Path) -> str:
    """Say what is at a place that is neither free, nor empty, nor a detector alone; nothing where it is."""
    try:
        names = set(os.listdir(directory))
    except FileNotFoundError:
        return ""
    except NotADirectoryError:
        return "a file"
    except OSError as error:
        return f"that it cannot be read ({seal.reason(error)})"
    others = sorted(names - {_META, _ARRAYS, tracking.FILE}) if _META in names else sorted(names)
    return f"{others[0]} and {len(others) - 1} more" if len(others) > 1 else "".join(others)


def _arrays(detector: Detector) -> dict[str, Any]:
    view = detector.view
    found = {"variables": detector.variables}
    return found if view is None else found | {"view": view.arrays()}
