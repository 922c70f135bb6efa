"""Masks of valid pixels: a plane in the scene's rows and columns, or polygons in its place."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scoread_jax.errors import SceneError
from scoread_jax.georeference import Georeference, crs_name
from scoread_jax.io import polygons, readers
from scoread_jax.io.contents import VALID_NAMES, Variable, find_plane
from scoread_jax.io.readers import crs as systems

# Two grids are the same when their corners are no farther apart than this, in pixels.
_NEAR = 0.01


def read(
    path: Path, var: str | None, georeference: Georeference | None, shape: tuple[int, int], source: str
) -> Variable:
    """Read a mask.

    Args:
        path: a file of one plane, nonzero where a pixel is valid; or of polygons around the valid pixels.
        var: name of the plane in its file; found where None.
        georeference: of the scene.
        shape: (rows, cols) of the scene.
        source: of the scene, for messages.

    Returns:
        [rows, cols], nonzero where valid.

    Raises:
        SceneError: for a file that cannot be read, or that lies in another place than the scene.
    """
    if path.suffix.lower() in polygons.SUFFIXES and path.is_file():
        return Variable(f"polygons of {path.name}", polygons.inside(path, georeference, shape, source))
    contents = readers.read(path)
    plane = find_plane(contents, (*VALID_NAMES, "mask"), "mask", "--mask-var", var)
    _check_place(path, contents.georeference, georeference, shape)
    return plane


def _check_place(path: Path, mine: Georeference | None, scene: Georeference | None, shape: tuple[int, int]) -> None:
    if mine is None or scene is None:
        return
    if mine.crs is not None and scene.crs is not None and not systems.same(mine.crs, scene.crs):
        raise SceneError(
            f"{path}: expected a mask in the scene's reference system {crs_name(scene.crs)}, "
            f"found {crs_name(mine.crs)}; warp it to the scene, or give polygons, which are warped"
        )
    if mine.transform is not None and scene.transform is not None:
        a, b, c, d, e, f = np.subtract(mine.transform, scene.transform)
        corners = [(a * col + b * row + c, d * col + e * row + f) for row in (0, shape[0]) for col in (0, shape[1])]
        if np.abs(corners).max() > _NEAR * np.hypot(scene.transform[0], scene.transform[3]):
            raise SceneError(
                f"{path}: expected a mask on the scene's grid {scene.transform}, found {mine.transform}; "
                "warp it to the scene, or give polygons, which are warped"
            )
