"""Scenes, truths and maps from files and to files, whatever the format.

A format is one module beside this one and a line in ``READERS``; those that hold maps are in ``writers``.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from scoread_jax.errors import SceneError
from scoread_jax.io import mat, npy
from scoread_jax.io.atomic import atomic_files, atomic_write, write_json, write_text
from scoread_jax.io.contents import (
    MAP_NAMES,
    TRUTH_NAMES,
    VALID_NAMES,
    Contents,
    Variable,
    find_beside,
    find_cube,
    find_plane,
    find_wavelengths,
)
from scoread_jax.io.locks import lock
from scoread_jax.io.writers import WRITERS, write_map, write_mask
from scoread_jax.scene import Scene, make_scene, nonzero_plane

__all__ = [
    "READERS",
    "WRITERS",
    "atomic_files",
    "atomic_write",
    "lock",
    "read_map",
    "read_scene",
    "read_truth",
    "write_json",
    "write_map",
    "write_mask",
    "write_text",
]

AnyPath = str | os.PathLike[str]

READERS: Mapping[str, Callable[[Path], Contents]] = {
    ".mat": mat.read,
    ".npy": npy.read,
    ".npz": npy.read,
}


def read_scene(
    path: AnyPath,
    *,
    cube_var: str | None = None,
    truth_var: str | None = None,
    truth_path: AnyPath | None = None,
    mask_path: AnyPath | None = None,
    mask_var: str | None = None,
    name: str | None = None,
) -> Scene:
    """Read a scene: its cube, and its truth, mask of valid pixels and wavelengths where there are any.

    What is not named is found: the cube by its usual names or as the only 3-D array; truth, mask and
    wavelengths by their usual names and the cube's shape, in its file unless another one is given.

    Args:
        path: file of the cube.
        cube_var: variable of the cube.
        truth_var: variable of the truth (nonzero where anomalous), in ``truth_path`` or else in ``path``.
        truth_path: file of the truth.
        mask_path: file of the mask.
        mask_var: variable of the mask (nonzero where valid), in ``mask_path`` or else in ``path``.
        name: for titles and file names; that of the file where None.

    Returns:
        The checked scene; its notes say which variable was taken for what.

    Raises:
        SceneError: for a file that cannot be read, and for whatever ``make_scene`` refuses.
    """
    contents = _read(path)
    cube = find_cube(contents, cube_var)
    shape, bands = cube.array.shape[:2], cube.array.shape[2]
    mask = _chosen(contents, VALID_NAMES, "mask", mask_path, mask_var)
    truth = _chosen(contents, TRUTH_NAMES, "truth", truth_path, truth_var)
    notes = []
    if mask is None:
        mask, _ = find_beside(contents, VALID_NAMES, shape, {cube.name})
    if truth is None:
        # A variable called `mask` may be either: it is no truth where the user says that it is the mask.
        truth, misfit = find_beside(contents, TRUTH_NAMES, shape, {cube.name, mask_var or ""})
        if truth is None and misfit is not None:
            notes.append(f"no truth: {misfit} does not have the cube's {shape[0]} × {shape[1]} pixels")
    wavelengths = find_wavelengths(contents, bands)
    scene = make_scene(
        cube.array,
        truth=truth and truth.array,
        mask=mask and mask.array,
        wavelengths=wavelengths and wavelengths.array.ravel(),
        name=name or Path(path).stem,
        source=str(path),
    )
    found = {"cube": cube, "truth": truth, "mask of valid pixels": mask, "wavelengths": wavelengths}
    taken = [f"{word}: {variable}" for word, variable in found.items() if variable is not None]
    return dataclasses.replace(scene, notes=(*taken, *notes, *scene.notes))


def read_map(path: AnyPath, var: str | None = None) -> np.ndarray:
    """Read an anomaly map.

    Args:
        path: the file.
        var: variable of the map; found by its usual names, or as the only 2-D array, where None.

    Returns:
        float64 [rows, cols]; NaN where the scene was masked.

    Raises:
        SceneError: for a file that cannot be read or holds no such map.
    """
    variable = find_plane(_read(path), MAP_NAMES, "map", "--map-var", var)
    if variable.array.ndim != 2:
        raise SceneError(f"{path}: expected a map [rows, cols], found {variable}; choose one with --map-var")
    return variable.array.astype(np.float64)


def read_truth(path: AnyPath, var: str | None = None) -> np.ndarray:
    """Read a ground truth.

    Args:
        path: the file.
        var: variable of the truth; found by its usual names, or as the only 2-D array, where None.

    Returns:
        bool [rows, cols], True where anomalous.

    Raises:
        SceneError: for a file that cannot be read or holds no such truth, and for NaN.
    """
    variable = find_plane(_read(path), TRUTH_NAMES, "truth", "--truth-var", var)
    return nonzero_plane(variable.array, "truth", str(path))


def _chosen(
    contents: Contents, names: tuple[str, ...], word: str, path: AnyPath | None, var: str | None
) -> Variable | None:
    """Find the truth or mask that the user chose, in its own file or beside the cube; None for no choice."""
    option = f"--{word}-var"
    if path is not None:
        return find_plane(_read(path), (*names, word), word, option, var)
    return None if var is None else contents.variable(var, option)


def _read(path: AnyPath) -> Contents:
    """Read whatever a file holds, with one sentence for each way in which it can fail."""
    path = Path(path)
    if not os.path.exists(path):
        raise SceneError(f"{path}: expected a file, found nothing there; check the path")
    if os.path.isdir(path):
        raise SceneError(f"{path}: expected a file, found a folder; name a file in it")
    try:
        with path.open("rb") as file:
            head = file.read(len(mat.SIGNATURE))
        if not head:
            raise SceneError(f"{path}: expected a scene, truth or map, found an empty file; get it again")
        # MATLAB files say what they are, whatever they are called.
        reader = mat.read if head == mat.SIGNATURE else READERS.get(path.suffix.lower())
        if reader is None:
            raise SceneError(
                f"{path}: expected a file ending in {', '.join(READERS)}, "
                f"found {path.suffix or 'no suffix'!r}; convert it to one of these"
            )
        return reader(path)
    except SceneError:
        raise
    except Exception as error:  # a damaged file can make SciPy, h5py and NumPy raise nearly anything
        reason = " ".join(str(error).split()) or "no more is known"
        raise SceneError(
            f"{path}: expected a file of numbers, found one that cannot be read ({type(error).__name__}: "
            f"{reason}); it may be damaged, cut short or of another kind: get it again"
        ) from error
