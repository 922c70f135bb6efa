"""What every writer is given: one plane of numbers, and what travels with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from scoread_jax.georeference import Georeference

ANOMALY_SCORE = "anomaly_score"
DETECTIONS = "detections"
NO_DETECTION_KNOWN = 255  # of a mask of detections, where the map is masked


@dataclasses.dataclass(frozen=True, eq=False)
class Raster:
    """One plane, ready to be written.

    Attributes:
        values: [rows, cols], float32, float64 or uint8.
        name: of the variable; with spaces for underscores, of the band.
        nodata: what masked pixels hold.
        georeference: where the pixels lie, or None.
        tags: provenance, as text.
    """

    values: np.ndarray
    name: str
    nodata: float
    georeference: Georeference | None
    tags: Mapping[str, str]

    @property
    def description(self) -> str:
        """Name of the band in words."""
        return self.name.replace("_", " ")
