"""Where a scene's pixels lie on the Earth: carried from the scene's file to every map made of it."""

from __future__ import annotations

import dataclasses

import numpy as np

Affine = tuple[float, float, float, float, float, float]
"""(a, b, c, d, e, f): x = a · col + b · row + c and y = d · col + e · row + f, at a pixel's upper left corner."""


@dataclasses.dataclass(frozen=True, eq=False)
class Georeference:
    """Where pixels lie: by an affine transform, or, for a swath in sensor geometry, by a place for each pixel.

    Attributes:
        crs: coordinate reference system as WKT, of ``transform``, or of ``lat`` and ``lon``; None: not known.
        transform: of pixel corners, rotated or not; None for a swath.
        lat: degrees north of each pixel's centre, [rows, cols], or None.
        lon: degrees east of each pixel's centre, [rows, cols], or None.
        glt: geographic lookup table of an orthorectified grid: (row, col) of the swath that lies at each cell,
            counted from 0, −1 where none does, int32 [grid rows, grid cols, 2], or None.
        glt_transform: of the table's cells; None without one.
    """

    crs: str | None = None
    transform: Affine | None = None
    lat: np.ndarray | None = None
    lon: np.ndarray | None = None
    glt: np.ndarray | None = None
    glt_transform: Affine | None = None


def orthorectify(
    values: np.ndarray, georeference: Georeference | None, nodata: float
) -> tuple[np.ndarray, Affine | None]:
    """Lay a plane on a grid that an affine transform describes.

    Args:
        values: in the scene's rows and columns, [rows, cols].
        georeference: of the scene.
        nodata: for cells of the grid where no pixel lies.

    Returns:
        The plane and its transform: as it is where it has one; by the lookup table, [grid rows, grid cols], where
        there is one; else as it is, and None.
    """
    if georeference is None or georeference.transform is not None:
        return values, None if georeference is None else georeference.transform
    if georeference.glt is None:
        return values, None
    rows, cols = np.moveaxis(georeference.glt, -1, 0)
    return np.where(rows >= 0, values[rows, cols], values.dtype.type(nodata)), georeference.glt_transform
