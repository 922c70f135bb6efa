"""EMIT L2A reflectance and L1B radiance in NetCDF-4: a swath in sensor geometry, and how to orthorectify it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scoread_jax.errors import SceneError
from scoread_jax.georeference import Affine, Georeference
from scoread_jax.io.contents import Contents
from scoread_jax.io.readers.stored import Stored, as_text, load

_CUBES = ("reflectance", "radiance")
_BANDS, _PLACES = "sensor_band_parameters", "location"


def fits(variables: Mapping[str, Stored]) -> bool:
    """Whether this is an EMIT granule in sensor geometry, whole or not."""
    cube = next((variables[name] for name in _CUBES if name in variables), None)
    grouped = any(name.startswith((f"{_BANDS}/", f"{_PLACES}/")) for name in variables)
    return cube is not None and (grouped or cube.dimensions[:1] == ("downtrack",))


def read(path: Path, variables: Mapping[str, Stored], attributes: Mapping[str, Any]) -> Contents:
    """Read the cube [downtrack, crosstrack, bands], wavelengths, good bands, latitudes, longitudes and lookup table.

    The lookup table of the file counts columns and rows from 1, and holds 0 where no pixel lies; its grid is that
    of the attributes ``geotransform`` and ``spatial_ref``, not the cube's.

    Args:
        path: the file.
        variables: of the file.
        attributes: of the file.

    Raises:
        SceneError: for a granule without its groups.
    """
    name = next(name for name in _CUBES if name in variables)
    needed = [f"{_BANDS}/wavelengths", f"{_PLACES}/lat", f"{_PLACES}/lon"]
    missing = [each for each in needed if each not in variables]
    if missing:
        raise SceneError(
            f"{path}: expected an EMIT granule with {', '.join(needed)}, found none of {', '.join(missing)}; "
            "get the whole granule again"
        )
    wavelengths = variables[needed[0]]
    arrays = {"cube": load(path, variables[name], (0, 1, 2)), "wavelengths": load(path, wavelengths)}
    if f"{_BANDS}/good_wavelengths" in variables:
        arrays["good_wavelengths"] = load(path, variables[f"{_BANDS}/good_wavelengths"])
    fill = variables[name].number("_FillValue")
    return Contents(
        path,
        arrays,
        {},
        georeference=_georeference(variables, attributes),
        metadata={key: as_text(each) for key, each in attributes.items() if key not in ("geotransform", "spatial_ref")},
        wavelength_unit=wavelengths.text("units") or "nm",
        notes=(
            f"EMIT {name} in sensor geometry",
            *(() if fill is None else (f"no data where the file holds {fill:g} (_FillValue)",)),
        ),
    )


def _georeference(variables: Mapping[str, Stored], attributes: Mapping[str, Any]) -> Georeference:
    crs = as_text(attributes["spatial_ref"]) if "spatial_ref" in attributes else None
    lat, lon = (variables[f"{_PLACES}/{name}"].get(...).astype(np.float64) for name in ("lat", "lon"))
    tables = [variables.get(f"{_PLACES}/{name}") for name in ("glt_y", "glt_x")]
    grid = np.asarray(attributes.get("geotransform", ()), np.float64)
    if None in tables or grid.shape != (6,):
        return Georeference(crs, lat=lat, lon=lon)
    # Negative entries are filled in from a neighbour.
    glt = np.stack([np.abs(table.get(...).astype(np.int32)) - 1 for table in tables if table is not None], axis=-1)
    glt[(glt < 0).any(axis=-1) | (glt >= lat.shape).any(axis=-1)] = -1
    x, a, b, y, d, e = map(float, grid)
    transform: Affine = (a, b, x, d, e, y)
    return Georeference(crs, lat=lat, lon=lon, glt=glt, glt_transform=transform)
