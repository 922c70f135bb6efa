"""A map of a cube in memory, of the cube's own kind: an array for an array, a DataArray for a DataArray.

A DataArray is known by what it can do, so xarray is imported only by those who have one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scoread_jax import pipeline
from scoread_jax.config import Config
from scoread_jax.errors import SceneError
from scoread_jax.scene import Scene, make_scene

# How a dimension of bands is called, in lower case.
_WAVELENGTH_NAMES = ("wavelength", "wavelengths", "wl", "lambda", "λ")
BAND_NAMES = ("band", "bands", "channel", "channels", "spectral", *_WAVELENGTH_NAMES)
_PLANE_NAMES = ("x", "y", "lat", "lon", "latitude", "longitude", "row", "col", "rows", "cols", "line", "sample")


def anomaly_map(cube: Any, config: Config | None = None, *, mask: Any = None, band_dim: str | None = None) -> Any:
    """Find the anomalies of a cube: train on it and score it.

    Args:
        cube: real numbers, any unit: an array [rows, cols, bands], or an ``xarray.DataArray`` of three dimensions in
            any order. Pixels that are not finite or all zero take no part.
        config: the recipe; the default preset where None.
        mask: [rows, cols], nonzero where a pixel is valid.
        band_dim: which dimension of a DataArray holds the bands; found by its usual names where None.

    Returns:
        float32 [rows, cols], higher = more anomalous, NaN where masked; a DataArray where ``cube`` is one, with all
        its coordinates but those of the bands.

    Raises:
        SceneError: for a cube that is none, or a DataArray whose dimension of bands is not known.
        ConfigError: for a recipe that does not fit the cube.
        TrainingError: when training diverges.
    """
    if not _is_labelled(cube):
        return pipeline.detect(make_scene(cube, mask=mask), config)[1]
    dimension = _band_dimension(cube, band_dim)
    ordered = cube.transpose(..., dimension)
    found = pipeline.detect(_scene(ordered, dimension, mask), config)[1]
    plane = ordered.isel({dimension: 0}, drop=True).copy(data=found)
    plane.name = "anomaly_score"
    kept = {name: value for name, value in cube.attrs.items() if name == "grid_mapping"}
    plane.attrs = {"long_name": "anomaly score, higher = more anomalous"} | kept
    return plane


def _is_labelled(cube: Any) -> bool:
    return all(hasattr(cube, name) for name in ("dims", "coords", "transpose", "isel", "attrs"))


def _scene(ordered: Any, dimension: str, mask: Any) -> Scene:
    wavelengths, unit = None, None
    for key, coordinate in ordered.coords.items():
        if str(key).lower() in _WAVELENGTH_NAMES and coordinate.dims == (dimension,):
            wavelengths, unit = np.asarray(coordinate.values), str(coordinate.attrs.get("units", ""))
    name = str(ordered.name or "array")
    return make_scene(
        np.asarray(ordered.values), mask=mask, wavelengths=wavelengths, wavelength_unit=unit, name=name, source=name
    )


def _band_dimension(cube: Any, asked: str | None) -> str:
    dimensions = tuple(map(str, cube.dims))
    if asked is not None and asked not in dimensions:
        raise SceneError(f"expected band_dim to be one of {', '.join(dimensions)}, found {asked!r}")
    if len(dimensions) != 3:
        raise SceneError(
            f"expected a DataArray of three dimensions, rows, columns and bands, found {', '.join(dimensions)}"
        )
    named = [name for name in dimensions if name.lower() in BAND_NAMES]
    others = [name for name in dimensions if name.lower() not in _PLANE_NAMES]
    candidates = [asked] if asked is not None else named or others
    if len(candidates) != 1:
        raise SceneError(f"expected one dimension of bands, found {', '.join(dimensions)}; say which with band_dim")
    return candidates[0]
