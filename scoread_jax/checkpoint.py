"""Trained detectors on disk: Orbax for the arrays, JSON for the rest, a digest for each.

Orbax restores flipped bits without an error, so the CRC-32 of every array, and of what is written beside them,
is kept and checked on loading. A directory appears complete or not at all.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import zlib
from pathlib import Path
from typing import Any

import jax
import numpy as np

from scoread_jax import config as configuration
from scoread_jax._version import __version__
from scoread_jax.detect import Detector
from scoread_jax.errors import CheckpointError, ConfigError
from scoread_jax.scene import Normalisation

FORMAT = 1
_META = "detector.json"
_ARRAYS = "variables"


def save(directory: str | Path, detector: Detector) -> None:
    """Write a trained detector to a new directory, or in place of an older detector.

    Raises:
        CheckpointError: when the directory holds something else, or cannot be written. What was there stays.
    """
    import orbax.checkpoint as ocp

    check_target(directory)
    target = Path(os.path.realpath(directory))
    variables = jax.tree.map(np.asarray, detector.variables)
    meta = _meta(detector, variables)
    fresh, old = (target.with_name(f".{target.name}.{secrets.token_hex(4)}") for _ in range(2))
    try:
        fresh.mkdir(parents=True)
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(fresh / _ARRAYS, variables)
        (fresh / _META).write_text(json.dumps(meta, indent=1), encoding="utf-8")
        if target.exists():
            target.rename(old)
        fresh.rename(target)
    except Exception as error:  # the system's, or whatever Orbax makes of it
        raise CheckpointError(
            f"{directory}: expected to write a detector there, found: {_reason(error)}; choose another place"
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
    """Read a detector that ``save`` wrote, with every value checked against its digest.

    Raises:
        CheckpointError: for a directory that is missing, damaged, or of a newer format.
    """
    directory = Path(directory)
    meta = _read_meta(directory / _META)
    arrays: dict[str, dict[str, Any]] = meta["arrays"]
    try:
        config = configuration.from_table(meta["config"])
    except ConfigError as error:
        raise CheckpointError(
            f"{directory / _META}: expected a configuration of this version, found that {error}; "
            f"use scoread_jax {meta['version']}, which wrote it"
        ) from error
    target = _nest({name: np.zeros(array["shape"], array["dtype"]) for name, array in arrays.items()})
    variables = _restore(directory / _ARRAYS, target)
    for name, leaf in _leaves(variables).items():
        if _describe(leaf) != arrays[name]:
            raise CheckpointError(
                f"{directory}: expected the array {name} as it was saved, found it damaged (another digest); "
                "train again or restore a copy"
            )
    normalisation, good = meta["normalisation"], meta["good_bands"]
    return Detector(
        config,
        variables,
        meta["bands"],
        None if normalisation is None else Normalisation(*normalisation),
        None if good is None else np.isin(np.arange(meta["file_bands"]), good),
    )


def _strangers(directory: str | Path) -> str:
    """Say what is at a place that is neither free, nor empty, nor a detector alone; nothing where it is."""
    try:
        names = set(os.listdir(directory))
    except FileNotFoundError:
        return ""
    except NotADirectoryError:
        return "a file"
    except OSError as error:
        return f"that it cannot be read ({_reason(error)})"
    others = sorted(names - {_META, _ARRAYS}) if _META in names else sorted(names)
    return f"{others[0]} and {len(others) - 1} more" if len(others) > 1 else "".join(others)


def _meta(detector: Detector, variables: Any) -> dict[str, Any]:
    """Gather what is written beside the arrays."""
    scaling, good = detector.normalisation, detector.good_bands
    meta = {
        "format": FORMAT,
        "version": __version__,
        "config": configuration.as_table(detector.config),
        "bands": int(detector.bands),
        "normalisation": None if scaling is None else [float(scaling.offset), float(scaling.scale)],
        "good_bands": None if good is None else np.flatnonzero(good).tolist(),
        "file_bands": None if good is None else len(good),
        "arrays": {name: _describe(leaf) for name, leaf in _leaves(variables).items()},
    }
    return meta | {"crc32": _digest(meta)}


def _read_meta(path: Path) -> dict[str, Any]:
    if not os.path.isfile(path):
        raise CheckpointError(
            f"{path.parent}: expected a detector made by `scoread train` or `scoread import-weights`, "
            f"found no {_META} there; check the path"
        )
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
        version, digest = meta["format"], meta.pop("crc32", None)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"{path}: expected a detector's description, found it damaged ({_reason(error)}); "
            "train again or restore a copy"
        ) from error
    if version != FORMAT:
        raise CheckpointError(
            f"{path}: expected detector format {FORMAT}, found {version!r}; use the scoread_jax that wrote it"
        )
    if digest != _digest(meta):
        raise CheckpointError(
            f"{path}: expected a detector's description as it was saved, found it damaged (another digest); "
            "train again or restore a copy"
        )
    return meta


def _restore(path: Path, target: Any) -> Any:
    import orbax.checkpoint as ocp

    try:
        with ocp.StandardCheckpointer() as checkpointer:
            return jax.tree.map(np.asarray, checkpointer.restore(path.absolute(), target))
    except Exception as error:  # Orbax and its storage raise many kinds
        raise CheckpointError(
            f"{path}: expected the saved arrays, found that they cannot be read ({_reason(error)}); "
            "train again or restore a copy"
        ) from error


def _reason(error: Exception) -> str:
    """Return the first line of what an exception says."""
    text = getattr(error, "strerror", None) or str(error)
    return (text.strip() or type(error).__name__).splitlines()[0]


def _digest(meta: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(meta, sort_keys=True).encode())


def _leaves(tree: Any) -> dict[str, np.ndarray]:
    return {
        "/".join(str(key.key) for key in path): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
    }


def _nest(leaves: dict[str, np.ndarray]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, leaf in leaves.items():
        *folders, last = name.split("/")
        node = tree
        for folder in folders:
            node = node.setdefault(folder, {})
        node[last] = leaf
    return tree


def _describe(leaf: np.ndarray) -> dict[str, Any]:
    return {
        "shape": list(leaf.shape),
        "dtype": str(leaf.dtype),
        "crc32": zlib.crc32(np.ascontiguousarray(leaf).tobytes()),
    }
