"""Scenes, truths and maps from files and to files, whatever the format.

A format that is read is one module of ``readers``; one that maps are written to is one of ``writers``.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np

from scoread_jax.arrays import nonzero_plane
from scoread_jax.bands import ALL, Selection
from scoread_jax.errors import SceneError
from scoread_jax.georeference import Georeference
from scoread_jax.group import ALONE, Group
from scoread_jax.io import masks, readers
from scoread_jax.io.atomic import atomic_files, atomic_set, atomic_write, write_json, write_text
from scoread_jax.io.contents import (
    MAP_NAMES,
    TRUTH_NAMES,
    VALID_NAMES,
    Contents,
    Variable,
    find_beside,
    find_cube,
    find_good_bands,
    find_plane,
    find_wavelengths,
)
from scoread_jax.io.locks import lock
from scoread_jax.io.readers import READERS
from scoread_jax.io.writers import WRITERS, check_replaceable, write_map, write_mask
from scoread_jax.io.writers.vector import write_objects
from scoread_jax.scene import Scene, make_scene

__all__ = [
    "READERS",
    "WRITERS",
    "atomic_files",
    "atomic_set",
    "atomic_write",
    "check_replaceable",
    "lock",
    "read_map",
    "read_placed_map",
    "read_scene",
    "read_truth",
    "write_json",
    "write_map",
    "write_mask",
    "write_objects",
    "write_text",
]

AnyPath = str | os.PathLike[str]


def read_scene(
    path: AnyPath,
    *,
    cube_var: str | None = None,
    truth_var: str | None = None,
    truth_path: AnyPath | None = None,
    mask_path: AnyPath | None = None,
    mask_var: str | None = None,
    selection: Selection = ALL,
    name: str | None = None,
    group: Group = ALONE,
) -> Scene:
    """Read a scene: its cube, and its truth, mask of valid pixels, wavelengths and good bands where there are any.

    What is not named is found: the cube by its usual names or as the only 3-D array; truth, mask, wavelengths
    and good bands by their usual names and the cube's shape, in its file unless another one is given.

    Args:
        path: file of the cube.
        cube_var: variable of the cube.
        truth_var: variable of the truth (nonzero where anomalous), in ``truth_path`` or else in ``path``.
        truth_path: file of the truth.
        mask_path: file of the mask: a plane, or polygons (GeoJSON, GeoPackage) around the valid pixels.
        mask_var: variable of the mask (nonzero where valid), in ``mask_path`` or else in ``path``.
        selection: which bands are wanted.
        name: for titles and file names; that of the file where None.
        group: processes that each read their share of the cube; all get the same scene.

    Returns:
        The checked scene; its notes say which variable was taken for what.

    Raises:
        SceneError: for a file that cannot be read, and for whatever ``make_scene`` refuses.
    """
    contents = readers.read(path)
    cube = find_cube(contents, cube_var)
    shape, bands = cube.array.shape[:2], cube.array.shape[2]
    mask = _mask(contents, shape, mask_path, mask_var)
    truth = _truth(contents, truth_path, truth_var)
    notes = []
    if truth is None:
        # A variable called `mask` may be either: it is no truth where the user says that it is the mask.
        truth, misfit = find_beside(contents, TRUTH_NAMES, shape, {cube.name, mask_var or ""})
        if truth is None and misfit is not None:
            notes.append(f"no truth: {misfit} does not have the cube's {shape[0]} × {shape[1]} pixels")
    wavelengths, good_bands = find_wavelengths(contents, bands), find_good_bands(contents, bands)
    scene = make_scene(
        cube.array,
        truth=truth and truth.values,
        mask=mask and mask.values,
        wavelengths=wavelengths and wavelengths.values.ravel(),
        wavelength_unit=contents.wavelength_unit,
        good_bands=good_bands and good_bands.values.ravel() != 0,
        selection=selection,
        georeference=contents.georeference,
        metadata=contents.metadata,
        name=name or Path(path).stem,
        source=str(path),
        group=group,
    )
    found = {
        "cube": cube,
        "truth": truth,
        "mask of valid pixels": mask,
        "wavelengths": wavelengths,
        "good bands": good_bands,
    }
    taken = [f"{word}: {variable}" for word, variable in found.items() if variable is not None]
    return dataclasses.replace(scene, notes=(*taken, *contents.notes, *notes, *scene.notes))


def read_map(path: AnyPath, var: str | None = None) -> np.ndarray:
    """Read an anomaly map; ``read_placed_map`` without the place."""
    return read_placed_map(path, var)[0]


def read_placed_map(path: AnyPath, var: str | None = None) -> tuple[np.ndarray, Georeference | None]:
    """Read an anomaly map, and where its pixels lie.

    Args:
        path: the file.
        var: variable of the map; found by its usual names, or as the only 2-D array, where None.

    Returns:
        float64 [rows, cols], NaN where the scene was masked; and the place, or None.

    Raises:
        SceneError: for a file that cannot be read or holds no such map.
    """
    contents = readers.read(path)
    variable = find_plane(contents, MAP_NAMES, "map", "--map-var", var)
    if variable.array.ndim != 2:
        raise SceneError(f"{path}: expected a map [rows, cols], found {variable}; choose one with --map-var")
    return variable.values.astype(np.float64), contents.georeference


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
    variable = find_plane(readers.read(path), TRUTH_NAMES, "truth", "--truth-var", var)
    return nonzero_plane(variable.values, "truth", str(path))


def _mask(contents: Contents, shape: tuple[int, ...], path: AnyPath | None, var: str | None) -> Variable | None:
    """Find the mask that the user chose, in its own file or beside the cube, else one of a usual name beside it."""
    if path is not None:
        return masks.read(Path(path), var, contents.georeference, (shape[0], shape[1]), str(contents.path))
    if var is not None:
        return contents.variable(var, "--mask-var")
    return find_beside(contents, VALID_NAMES, shape, set())[0]


def _truth(contents: Contents, path: AnyPath | None, var: str | None) -> Variable | None:
    """Find the truth that the user chose, in its own file or beside the cube; None for no choice."""
    if path is not None:
        return find_plane(readers.read(path), TRUTH_NAMES, "truth", "--truth-var", var)
    return None if var is None else contents.variable(var, "--truth-var")
