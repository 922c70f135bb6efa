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
