"""NetCDF-4 and Zarr: the same variables by the same conventions (CF 1.11), in two containers.

The map is a variable on two dimensions. An upright grid has their coordinates in its reference system; a rotated one
has its transform as the grid mapping's ``GeoTransform``, as GDAL writes it; a swath has latitude and longitude of every
pixel. Where no coordinate is known, rows and columns are counted from 0 (GDAL shows such a file bottom up, as it does
whatever does not say where up is).
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from scoread_jax.extras import extra
from scoread_jax.georeference import Georeference
from scoread_jax.io.writers.raster import Raster

GRID_MAPPING = "spatial_ref"


class Variable(NamedTuple):
    """A variable of the file.

    Attributes:
        values: an array.
        dimensions: a name for each of its axes.
        attributes: text or numbers.
        nodata: what holds no value, or None.
    """

    values: np.ndarray
    dimensions: tuple[str, ...]
    attributes: Mapping[str, Any]
    nodata: float | None = None


def write_netcdf(path: Path, raster: Raster) -> None:
    """Write NetCDF-4, through h5py.

    Args:
        path: the file.
        raster: the plane.
    """
    import h5py

    # In memory first: on a full disk HDF5 fails where it can no longer say so.
    memory = io.BytesIO()
    variables, datasets = _variables(raster), {}
    with h5py.File(memory, "w", track_order=True) as file:
        file.attrs.update(_about(raster))
        for name, variable in variables.items():
            whole = variable.values.ndim > 0
            filled = {"fillvalue": variable.nodata} if variable.nodata is not None else {}
            packed = {"compression": "gzip", "shuffle": True} if whole else {}
            dataset = datasets[name] = file.create_dataset(
                name, data=variable.values, track_order=True, **packed, **filled
            )
            if variable.nodata is not None:
                dataset.attrs["_FillValue"] = variable.values.dtype.type(variable.nodata)
            dataset.attrs.update(variable.attributes)
            if variable.dimensions == (name,):
                dataset.make_scale(name)
        for name, variable in variables.items():
            for axis, dimension in enumerate(variable.dimensions):
                if dimension != name:
                    datasets[name].dims[axis].attach_scale(datasets[dimension])
    path.write_bytes(memory.getbuffer())


def write_zarr(path: Path, raster: Raster) -> None:
    """Write a Zarr store of version 3, which is a folder.

    Args:
        path: the folder.
        raster: the plane.

    Raises:
        MissingExtraError: zarr is not installed.
    """
    zarr = extra("zarr", "zarr")
    # In memory first: the library's threads go on after one of them has failed.
    stored: dict[str, Any] = {}
    group = zarr.create_group(zarr.storage.MemoryStore(stored), attributes=_about(raster), zarr_format=3)
    for name, variable in _variables(raster).items():
        attributes = dict(variable.attributes)
        if name == raster.name and raster.georeference is not None and raster.georeference.crs is not None:
            attributes["_CRS"] = {"wkt": raster.georeference.crs}  # GDAL's driver looks here
        group.create_array(
            name,
            data=variable.values,
            dimension_names=variable.dimensions,
            fill_value=variable.nodata,
            attributes=attributes,
        )
    for key, value in stored.items():
        place = path / key
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(value.to_bytes())


def _variables(raster: Raster) -> dict[str, Variable]:
    where = raster.georeference or Georeference()
    rows, cols = raster.values.shape
    variables, attributes = {}, {"long_name": raster.description}
    down, across = "row", "col"
    if where.transform is not None and where.transform[1] == where.transform[3] == 0:
        a, _, x, _, e, y = where.transform
        geographic = (where.crs or "").startswith("GEOG")
        down, across = ("lat", "lon") if geographic else ("y", "x")
        north, east = _axis(geographic, "lat"), _axis(geographic, "lon")
        variables[down] = Variable(y + e * (np.arange(rows) + 0.5), (down,), north)
        variables[across] = Variable(x + a * (np.arange(cols) + 0.5), (across,), east)
    else:
        variables[down] = Variable(np.arange(rows, dtype=np.int32), (down,), {"long_name": "row, from 0"})
        variables[across] = Variable(np.arange(cols, dtype=np.int32), (across,), {"long_name": "column, from 0"})
    if where.crs is not None or where.transform is not None:
        variables[GRID_MAPPING] = Variable(np.array(0, np.int32), (), _grid_mapping(where))
        attributes["grid_mapping"] = GRID_MAPPING
    if where.lat is not None and where.lon is not None:
        for name, values in (("lat", where.lat), ("lon", where.lon)):
            variables[name] = Variable(np.asarray(values), (down, across), _axis(True, name), np.nan)
        attributes["coordinates"] = "lat lon"
    variables[raster.name] = Variable(raster.values, (down, across), attributes, raster.nodata)
    return variables


def _axis(geographic: bool, name: str) -> dict[str, str]:
    if geographic:
        word, side = ("latitude", "north") if name == "lat" else ("longitude", "east")
        return {"standard_name": word, "long_name": word, "units": f"degrees_{side}"}
    axis = "y" if name == "lat" else "x"
    return {
        "standard_name": f"projection_{axis}_coordinate",
        "long_name": f"{axis} of pixel centre",
        "axis": axis.upper(),
    }


def _grid_mapping(where: Georeference) -> dict[str, Any]:
    words: dict[str, Any] = {} if where.crs is None else {"crs_wkt": where.crs, "spatial_ref": where.crs}
    if where.transform is not None:
        a, b, x, d, e, y = where.transform
        words["GeoTransform"] = " ".join(f"{value:.17g}" for value in (x, a, b, y, d, e))
    return words


def _about(raster: Raster) -> dict[str, str]:
    return {"Conventions": "CF-1.11", "title": raster.description, **raster.tags}
