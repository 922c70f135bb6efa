"""GeoTIFF, cloud-optimised, through GDAL."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from scoread_jax.extras import extra
from scoread_jax.georeference import Georeference, orthorectify
from scoread_jax.io.writers.raster import Raster

# A swath is pinned down at so many points along each side: `gdalwarp -tps` does the rest.
_PINS = 20


def write(path: Path, raster: Raster) -> None:
    """Write a cloud-optimised GeoTIFF: one band, nodata, reference system, transform, description, tags.

    A swath with a lookup table is written on the table's orthorectified grid; one without, in sensor geometry,
    pinned to its latitudes and longitudes by ground control points.

    Args:
        path: the file.
        raster: the plane.

    Raises:
        MissingExtraError: rasterio is not installed.
    """
    rasterio = extra("rasterio", "geo")
    values, transform = orthorectify(raster.values, raster.georeference, raster.nodata)
    crs = None if raster.georeference is None or raster.georeference.crs is None else raster.georeference.crs
    place: dict[str, Any] = {}
    if transform is not None:
        place = {"transform": rasterio.Affine(*transform), "crs": crs}
    profile = {
        "driver": "COG",
        "width": values.shape[1],
        "height": values.shape[0],
        "count": 1,
        "dtype": values.dtype,
        "nodata": raster.nodata,
        "compress": "DEFLATE",
        "predictor": "YES",
        "overview_resampling": "AVERAGE" if values.dtype.kind == "f" else "MODE",
    }
    # In memory first: on a full disk GDAL only writes a line to its log, Python raises.
    with rasterio.MemoryFile() as memory, warnings.catch_warnings():
        # That it has no place is known; the warning names a line of rasterio.
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with memory.open(**profile, **place) as file:
            file.write(values, 1)
            file.set_band_description(1, raster.description)
            file.update_tags(**raster.tags)
            if transform is None and raster.georeference is not None and raster.georeference.lat is not None:
                file.gcps = (_ground_control(rasterio, raster.georeference), crs or "EPSG:4326")
        path.write_bytes(memory.getbuffer())


def _ground_control(rasterio: Any, georeference: Georeference) -> list[Any]:
    lat, lon = np.asarray(georeference.lat), np.asarray(georeference.lon)
    rows, cols = (np.unique(np.linspace(0, side - 1, _PINS).round().astype(int)) for side in lat.shape)
    points = [(int(row), int(col)) for row in rows for col in cols]
    return [
        rasterio.control.GroundControlPoint(row + 0.5, col + 0.5, float(lon[row, col]), float(lat[row, col]))
        for row, col in points
        if np.isfinite(lat[row, col]) and np.isfinite(lon[row, col])
    ]
