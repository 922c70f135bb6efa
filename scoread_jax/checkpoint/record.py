"""What is written of a detector beside its arrays, in a directory or in an exported file."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from scoread_jax import config as configuration
from scoread_jax._version import __version__
from scoread_jax.detect import Detector
from scoread_jax.scene import Normalisation

_MOST_BANDS = 1 << 20


class Fitted(NamedTuple):
    """The fields of ``Detector`` that a record holds, by their names there."""

    bands: int
    normalisation: Normalisation | None
    good_bands: np.ndarray | None


def describe(detector: Detector) -> dict[str, Any]:
    """A detector but for its arrays, in plain values."""
    scaling, good = detector.normalisation, detector.good_bands
    return {
        "version": __version__,
        "config": configuration.as_table(detector.config),
        "bands": int(detector.bands),
        "normalisation": None if scaling is None else [float(scaling.offset), float(scaling.scale)],
        "good_bands": None if good is None else np.flatnonzero(good).tolist(),
        "file_bands": None if good is None else len(good),
    }


def fitted(record: dict[str, Any]) -> Fitted:
    """What ``describe`` wrote, but for version and configuration.

    Raises:
        LookupError, TypeError, ValueError: for a record that ``describe`` did not write.
    """
    scaling, good = record["normalisation"], record["good_bands"]
    return Fitted(
        int(record["bands"]),
        None if scaling is None else Normalisation(*map(float, scaling)),
        None if good is None else _mask(good, int(record["file_bands"])),
    )


def _mask(good: list[int], bands: int) -> np.ndarray:
    if not (0 < bands <= _MOST_BANDS):
        raise ValueError(f"{bands} bands")
    mask = np.zeros(bands, bool)
    mask[good] = True
    return mask
