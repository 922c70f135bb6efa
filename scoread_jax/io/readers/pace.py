"""PACE OCI L2 surface reflectance in NetCDF-4: a swath."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scoread_jax.errors import SceneError
from scoread_jax.georeference import Georeference
from scoread_jax.io.contents import Contents
from scoread_jax.io.readers.stored import Stored, as_text, load

_DATA, _WAVELENGTHS = "geophysical_data", "sensor_band_parameters/wavelength_3d"


def fits(variables: Mapping[str, Stored]) -> bool:
    """Whether this is a level 2 file of the ocean colour group with a spectrum for each pixel."""
    return _WAVELENGTHS in variables and any(name.startswith(f"{_DATA}/") for name in variables)


def read(path: Path, variables: Mapping[str, Stored], attributes: Mapping[str, Any]) -> Contents:
    """Read the cube [lines, pixels, wavelengths], wavelengths, latitudes and longitudes.

    Args:
        path: the file.
        variables: of the file.
        attributes: of the file.

    Raises:
        SceneError: for a file without a cube, or without its places.
    """
    cubes = [name for name, each in variables.items() if name.startswith(f"{_DATA}/") and len(each.shape) == 3]
    places = [f"navigation_data/{name}" for name in ("latitude", "longitude")]
    if not cubes or any(place not in variables for place in places):
        raise SceneError(
            f"{path}: expected a PACE granule with a cube in {_DATA}, {' and '.join(places)}, "
            f"found {', '.join(variables)}; get the whole granule again"
        )
    lat, lon = (variables[place].get(...).astype(np.float64) for place in places)
    return Contents(
        path,
        {name.split("/")[-1]: load(path, variables[name], (0, 1, 2)) for name in cubes}
        | {"wavelengths": load(path, variables[_WAVELENGTHS])},
        {},
        georeference=Georeference(lat=lat, lon=lon),
        metadata={name: as_text(value) for name, value in attributes.items()},
        wavelength_unit=variables[_WAVELENGTHS].text("units") or "nm",
        notes=("PACE swath in sensor geometry",),
    )
