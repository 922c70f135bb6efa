"""Connected detections as objects: how large, how anomalous, and where."""

from __future__ import annotations

import dataclasses

import numpy as np

from scoread_jax.georeference import Georeference, coordinates, pixel_areas


@dataclasses.dataclass(frozen=True)
class Object:
    """Detected pixels that touch, by a side or a corner.

    Attributes:
        number: from 1, by descending peak.
        pixels: how many.
        area: in square metres, or in the map's own units squared where their length is not known; None without a place.
        peak: highest score.
        mean: mean score.
        peak_row: of the highest score, counted from 0.
        peak_col: of the highest score, counted from 0.
        row: of the centroid, counted from 0 at the centre of the first pixel.
        col: of the centroid.
        x: of the centroid in the map's coordinates, degrees east where those are geographic; None without a place.
        y: of the centroid, degrees north where those are geographic.
    """

    number: int
    pixels: int
    area: float | None
    peak: float
    mean: float
    peak_row: int
    peak_col: int
    row: float
    col: float
    x: float | None
    y: float | None


def find(
    anomaly_map: np.ndarray, threshold: float, georeference: Georeference | None = None, least_pixels: int = 1
) -> tuple[list[Object], np.ndarray]:
    """Join the pixels whose score is at least a threshold to objects.

    Args:
        anomaly_map: [rows, cols], NaN = masked.
        threshold: a score.
        georeference: of the map.
        least_pixels: objects of fewer pixels are dropped.

    Returns:
        The objects, and the number of each pixel's object, int32 [rows, cols], 0 where there is none.
    """
    from scipy import ndimage

    with np.errstate(invalid="ignore"):
        detected = anomaly_map >= threshold
    labels = np.zeros(anomaly_map.shape, np.int32)
    ndimage.label(detected, np.ones((3, 3)), output=labels)
    sizes = np.bincount(labels.ravel())
    rows, cols = np.nonzero((labels > 0) & (sizes[labels] >= least_pixels))
    members = labels[rows, cols]
    if not members.size:
        return [], np.zeros(anomaly_map.shape, np.int32)
    scores = anomaly_map[rows, cols]
    areas = None if georeference is None else pixel_areas(georeference, rows, cols)
    order = np.argsort(-scores, kind="stable")
    best = order[np.sort(np.unique(members[order], return_index=True)[1])]  # of each object, by descending peak
    numbers = np.zeros(len(sizes), np.int32)
    numbers[members[best]] = np.arange(1, len(best) + 1)
    mine = numbers[members] - 1
    pixels = np.bincount(mine)
    mean, row, col = (np.bincount(mine, values) / pixels for values in (scores, rows, cols))
    x, y = (None, None) if georeference is None else coordinates(georeference, row, col)
    area = None if areas is None else np.bincount(mine, areas)
    objects = [
        Object(
            number=at + 1,
            pixels=int(pixels[at]),
            area=None if area is None else float(area[at]),
            peak=float(scores[best[at]]),
            mean=float(mean[at]),
            peak_row=int(rows[best[at]]),
            peak_col=int(cols[best[at]]),
            row=float(row[at]),
            col=float(col[at]),
            x=None if x is None else float(x[at]),
            y=None if y is None else float(y[at]),
        )
        for at in range(len(best))
    ]
    return objects, numbers[labels]
