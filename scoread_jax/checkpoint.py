"""Trained detectors on disk: Orbax for the arrays, JSON for the rest, a digest for every file.

Orbax restores some flipped bits without an error, and meets others with a crash in another thread, so every file is
checked before it is asked. A directory appears complete or not at all.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import textwrap
from pathlib import Path
from typing import Any

import jax
import numpy as np

from scoread_jax import config as configuration
from scoread_jax._version import __version__
from scoread_jax.detect import Detector
from scoread_jax.errors import CheckpointError, ConfigError
from scoread_jax.scene import Normalisation
from scoread_jax.views import View

FORMAT = 2
_META = "detector.json"
_ARRAYS = "arrays"


def save(directory: str | Path, detector: Detector) -> None:
    """Write a trained detector to a new directory, or in place of an older detector.

    Raises:
        CheckpointError: when the directory holds something else, or cannot be written. What was there stays.
    """
    import orbax.checkpoint as ocp

    check_target(directory)
    if any(detector.functions):
        raise CheckpointError(
            f"{directory}: expected a detector of named functions, found one with a user's own, which no file can "
            "hold; train and score in one go"
        )
    target = Path(os.path.realpath(directory))
    fresh, old = (target.with_name(f".{target.name}.{secrets.token_hex(4)}") for _ in range(2))
    arrays = jax.tree.map(np.asarray, _arrays(detector))
    try:
        fresh.mkdir(parents=True)
        with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as checkpointer:
            checkpointer.save(fresh / _ARRAYS, args=ocp.args.StandardSave(arrays))
        meta = _describe(detector, arrays) | {"files": _digests(fresh)}
        (fresh / _META).write_text(json.dumps(_sealed(meta), indent=1), encoding="utf-8")
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
    """Read a detector that ``save`` wrote, every file of it checked against its digest.

    Raises:
        CheckpointError: for a directory that is missing, damaged, or of a newer format.
    """
    directory = Path(directory)
    meta = _read_meta(directory)
    for name, digest in meta["files"].items():
        _check_file(directory / name, digest)
    try:
        config = configuration.from_table(meta["config"])
    except ConfigError as error:
        raise CheckpointError(
            f"{directory / _META}: expected a configuration of this version, found that {error}; "
            f"use scoread_jax {meta['version']}, which wrote it"
        ) from error
    normalisation, good = meta["normalisation"], meta["good_bands"]
    arrays = _restore(directory / _ARRAYS, meta["arrays"])
    return Detector(
        config,
        arrays["variables"],
        meta["bands"],
        None if normalisation is None else Normalisation(*normalisation),
        None if good is None else np.isin(np.arange(meta["file_bands"]), good),
        View(config.view.kind == "root", **arrays["view"]) if "view" in arrays else None,
    )


def identity(directory: str | Path) -> str:
    """SHA-256 of all that a detector's directory holds.

    Raises:
        CheckpointError: for a directory that is missing or damaged.
    """
    return _read_meta(Path(directory))["sha256"]


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


def _arrays(detector: Detector) -> dict[str, Any]:
    view = detector.view
    found = {"variables": detector.variables}
    return found if view is None else found | {"view": {"centre": view.centre, "basis": view.basis}}


def _describe(detector: Detector, arrays: Any) -> dict[str, Any]:
    """Gather what is written beside the arrays."""
    scaling, good = detector.normalisation, detector.good_bands
    return {
        "format": FORMAT,
        "version": __version__,
        "config": configuration.as_table(detector.config),
        "bands": int(detector.bands),
        "normalisation": None if scaling is None else [float(scaling.offset), float(scaling.scale)],
        "good_bands": None if good is None else np.flatnonzero(good).tolist(),
        "file_bands": None if good is None else len(good),
        "arrays": jax.tree.map(lambda leaf: {"shape": leaf.shape, "dtype": str(leaf.dtype)}, arrays),
    }


def _sealed(meta: dict[str, Any]) -> dict[str, Any]:
    """Add the digest of all the rest."""
    text = json.dumps(meta, sort_keys=True)
    return meta | {"sha256": hashlib.sha256(text.encode()).hexdigest()}


def _read_meta(directory: Path) -> dict[str, Any]:
    path = directory / _META
    if not os.path.isfile(path):
        raise CheckpointError(
            f"{directory}: expected a detector made by `scoread train` or `scoread import-weights`, "
            f"found no {_META} there; check the path"
        )
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
        version = meta["format"]
        whole = _sealed({key: value for key, value in meta.items() if key != "sha256"}) == meta
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(path, _reason(error)) from error
    if version != FORMAT:
        raise CheckpointError(
            f"{path}: expected detector format {FORMAT}, found {version!r}; use the scoread_jax that wrote it"
        )
    if not whole:
        raise _damaged(path, "its digest is another")
    return meta


def _digests(directory: Path) -> dict[str, str]:
    """Digest every file under a directory, by its path there."""
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): _digest(path) for path in files}


def _check_file(path: Path, digest: str) -> None:
    try:
        found = _digest(path)
    except OSError as error:
        raise _damaged(path, _reason(error)) from error
    if found != digest:
        raise _damaged(path, "its digest is another")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _damaged(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: expected a detector's file as it was saved, found it damaged ({reason}); "
        "train again or restore a copy"
    )


def _restore(path: Path, arrays: dict[str, Any]) -> Any:
    import orbax.checkpoint as ocp

    def is_leaf(node: Any) -> bool:
        return set(node) == {"shape", "dtype"}

    target = jax.tree.map(lambda leaf: np.zeros(leaf["shape"], leaf["dtype"]), arrays, is_leaf=is_leaf)
    try:
        with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as checkpointer:
            found = checkpointer.restore(path.absolute(), args=ocp.args.StandardRestore(target))
        return jax.tree.map(np.asarray, found)
    except Exception as error:  # Orbax and its storage raise many kinds
        raise CheckpointError(
            f"{path}: expected arrays that this version of Orbax reads, found that it does not "
            f"({_reason(error)}); use the version that wrote them"
        ) from error


def _reason(error: Exception) -> str:
    """Return what an exception says in one short line."""
    text = getattr(error, "strerror", None) or str(error)
    return textwrap.shorten(text, 200, placeholder=" …") or type(error).__name__
