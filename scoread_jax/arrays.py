"""What an array must be to serve as a cube, a mask or a truth."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from scoread_jax.cube import Cube, LazyCube, size_of
from scoread_jax.errors import SceneError


def checked_cube(cube: Any, source: str) -> Cube:
    """Return a cube as it is where it is lazy, else as an array.

    Args:
        cube: real numbers [rows, cols, bands].
        source: the file or array it came from, for messages.

    Raises:
        SceneError: for what is no cube.
    """
    if isinstance(cube, np.ma.MaskedArray):
        raise SceneError(f"{source}: expected a plain array, found a masked one; give its data and a mask")
    cube = cube if isinstance(cube, LazyCube) else np.asarray(cube)
    if cube.ndim != 3 or cube.size == 0:
        raise SceneError(f"{source}: expected a cube [rows, cols, bands], found {size_of(cube)}; give a 3-D array")
    if cube.dtype.kind not in "iuf":
        raise SceneError(
            f"{source}: expected a cube of real numbers, found type {cube.dtype}; convert it to integers or floats"
        )
    return cube


def nonzero_plane(plane: Any, word: str, source: str, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Read a mask or a truth: True where it is nonzero.

    Args:
        plane: real numbers or bool [rows, cols].
        word: what it is, for messages.
        source: the file or array it came from, for messages.
        shape: (rows, cols) that it must have; any where None.

    Returns:
        bool [rows, cols].

    Raises:
        SceneError: for another shape or type, or for NaN.
    """
    plane = np.asarray(plane)
    if plane.dtype.kind not in "biuf" or plane.ndim != 2:
        raise SceneError(
            f"{source}: expected a {word} [rows, cols] of numbers, "
            f"found {size_of(plane)} of type {plane.dtype}; give one number a pixel"
        )
    if shape is not None and plane.shape != shape:
        raise SceneError(
            f"{source}: expected a {word} of the cube's {shape[0]} × {shape[1]} pixels, "
            f"found {size_of(plane)}; give the {word} of this scene"
        )
    if plane.dtype.kind == "f" and np.isnan(plane).any():
        raise SceneError(
            f"{source}: expected a {word} of zeros and nonzeros, "
            f"found {np.count_nonzero(np.isnan(plane))} NaN; replace them by 0 or 1"
        )
    return plane != 0


def truth_notes(truth: np.ndarray, valid: np.ndarray, levels: int) -> Iterator[str]:
    """Say what is odd about a truth, a sentence each.

    Args:
        truth: bool [rows, cols].
        valid: bool [rows, cols].
        levels: how many different values it had.
    """
    anomalous, masked = np.count_nonzero(truth & valid), np.count_nonzero(truth & ~valid)
    if levels > 2:
        yield f"the truth holds {levels} different values: all that are not zero count as anomalous"
    if masked:
        yield f"{masked} anomalous pixels of the truth are masked"
    if not anomalous:
        yield "the truth has no anomalous pixel among the valid ones: metrics are undefined"
    if anomalous == np.count_nonzero(valid):
        yield "the truth has no background pixel among the valid ones: metrics are undefined"
