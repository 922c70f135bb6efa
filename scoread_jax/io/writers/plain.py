"""Maps without a place on the Earth: MATLAB, NumPy, PNG. Provenance travels in all but ``.npy``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from scoread_jax.io.writers.raster import ANOMALY_SCORE, Raster

# Under these names the map is known: in MATLAB by the published one.
_MATLAB_NAMES = {ANOMALY_SCORE: "SAD_result"}
_NUMPY_NAMES = {ANOMALY_SCORE: "map"}


def write_mat(path: Path, raster: Raster) -> None:
    """Write MATLAB v5, compressed: ``SAD_result``, and the provenance as text."""
    import scipy.io

    variables: dict[str, Any] = {_MATLAB_NAMES.get(raster.name, raster.name): raster.values}
    if raster.tags:
        variables["provenance"] = json.dumps(dict(raster.tags), ensure_ascii=False)
    scipy.io.savemat(path, variables, appendmat=False, do_compression=True)


def write_npy(path: Path, raster: Raster) -> None:
    """Write the one array of a ``.npy`` file."""
    np.save(path, raster.values, allow_pickle=False)


def write_npz(path: Path, raster: Raster) -> None:
    """Write ``map`` of a compressed ``.npz`` file, and the provenance as text."""
    variables = {_NUMPY_NAMES.get(raster.name, raster.name): raster.values}
    if raster.tags:
        variables["provenance"] = np.array(json.dumps(dict(raster.tags), ensure_ascii=False))
    np.savez_compressed(path, allow_pickle=False, **variables)


def write_png(path: Path, raster: Raster) -> None:
    """Write one image pixel a scene pixel, masked pixels transparent; colours as ``colours.scale`` says."""
    from matplotlib.image import imsave

    from scoread_jax import colours

    values = raster.values.astype(np.float64)
    values[np.isclose(values, raster.nodata, equal_nan=True)] = np.nan
    imsave(path, colours.paint(values), format="png", metadata=dict(raster.tags))
