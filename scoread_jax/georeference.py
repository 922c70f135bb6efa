"""Where a scene's pixels lie on the Earth: carried from the scene's file to every map made of it."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np

_EQUATOR, _ECCENTRICITY_SQUARED = 6_378_137.0, 0.00669437999014  # of WGS 84, m

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

    def as_dict(self) -> dict[str, str]:
        """Say where the pixels lie in a few words: reference system, transform, corners of a swath, lookup table."""
        words = {}
        if self.crs is not None:
            words["reference system"] = crs_name(self.crs)
        if self.transform is not None:
            words["transform"] = " ".join(f"{number:.12g}" for number in self.transform)
        if self.lat is not None and self.lon is not None:
            ends = [f"{np.nanmin(each):.5g} to {np.nanmax(each):.5g}" for each in (self.lat, self.lon)]
            words["swath"] = f"latitude {ends[0]}, longitude {ends[1]}"
        if self.glt is not None:
            words["lookup table"] = f"{self.glt.shape[0]} × {self.glt.shape[1]} cells"
        return words


def crs_name(crs: str) -> str:
    """The name of a reference system: the first quoted words of a WKT, or what is no WKT as it is."""
    return crs.split('"')[1] if '"' in crs else crs


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


def coordinates(georeference: Georeference, rows: Any, cols: Any) -> tuple[Any, Any]:
    """Where points of the image lie, in the map's coordinates: easting and northing, or longitude and latitude.

    Args:
        georeference: of the image, with a transform, or with latitudes and longitudes.
        rows: of the points, counted from 0 at the centre of the first pixel; fractions lie between pixels.
        cols: of the points.

    Returns:
        x and y, each of the points' shape; of a swath interpolated, or continued beyond its edge, linearly.
        None and None where the place is not known.
    """
    if georeference.transform is not None:
        a, b, x, d, e, y = georeference.transform
        rows, cols = rows + 0.5, cols + 0.5
        return a * cols + b * rows + x, d * cols + e * rows + y
    if georeference.lat is None or georeference.lon is None:
        return None, None
    return _between(georeference.lon, rows, cols), _between(georeference.lat, rows, cols)


def pixel_areas(georeference: Georeference, rows: np.ndarray, cols: np.ndarray) -> np.ndarray | None:
    """Areas of pixels on the ground.

    Args:
        georeference: of the image.
        rows: int [pixels].
        cols: int [pixels].

    Returns:
        [pixels] in m², on the WGS 84 ellipsoid where coordinates are geographic; in the map's units squared where no
        reference system says how long they are. None where the place is not known.
    """
    _, y = coordinates(georeference, rows, cols)
    if y is None:
        return None
    if georeference.transform is not None:
        a, b, _, d, e, _ = georeference.transform
        area = np.full(len(rows), abs(a * e - b * d))
    else:
        (x0, y0), (x1, y1) = (coordinates(georeference, rows + half, cols) for half in (-0.5, 0.5))
        (x2, y2), (x3, y3) = (coordinates(georeference, rows, cols + half) for half in (-0.5, 0.5))
        area = np.abs((x1 - x0) * (y3 - y2) - (x3 - x2) * (y1 - y0))
    if georeference.transform is None or is_geographic(georeference.crs):
        # Radii of curvature of the ellipsoid along the meridian and across it.
        latitude = np.radians(y)
        squared = 1 - _ECCENTRICITY_SQUARED * np.sin(latitude) ** 2
        along = _EQUATOR * (1 - _ECCENTRICITY_SQUARED) / squared**1.5
        across = _EQUATOR / np.sqrt(squared) * np.cos(latitude)
        return area * np.radians(1) ** 2 * along * across
    return area * metres_a_unit(georeference.crs) ** 2


def is_geographic(crs: str | None) -> bool:
    """Whether a reference system, as WKT, counts in degrees."""
    return (crs or "").upper().lstrip().startswith(("GEOG", "GEODCRS", "BASEGEOG"))


def metres_a_unit(crs: str | None) -> float:
    """Length of a projected system's unit, the last that its WKT names; 1 where it names none."""
    units = re.findall(r'(?<![A-Z])(?:LENGTH)?UNIT\s*\[\s*"[^"]*"\s*,\s*([0-9.eE+-]+)', crs or "", re.IGNORECASE)
    return float(units[-1]) if units else 1.0


def _between(plane: np.ndarray, rows: Any, cols: Any) -> Any:
    """Bilinear within the plane, linear beyond its edge."""
    row = np.clip(np.floor(rows), 0, max(0, plane.shape[0] - 2)).astype(int)
    col = np.clip(np.floor(cols), 0, max(0, plane.shape[1] - 2)).astype(int)
    below, right = np.minimum(row + 1, plane.shape[0] - 1), np.minimum(col + 1, plane.shape[1] - 1)
    down, across = rows - row, cols - col
    top = plane[row, col] * (1 - across) + plane[row, right] * across
    return top * (1 - down) + (plane[below, col] * (1 - across) + plane[below, right] * across) * down
