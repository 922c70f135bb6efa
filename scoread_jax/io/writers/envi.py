"""ENVI: a flat file of numbers, and a header of words beside it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from scoread_jax.errors import MissingExtraError, SceneError
from scoread_jax.extras import extra
from scoread_jax.georeference import Affine, orthorectify
from scoread_jax.io.writers.raster import Raster

_TYPES = {np.dtype(np.uint8): 1, np.dtype(np.float32): 4, np.dtype(np.float64): 5}
_DATUMS = {"WGS_1984": "WGS-84", "WGS 84": "WGS-84", "North_American_1983": "North America 1983"}
_SQUARE = 1e-9  # how far from square and right-angled a rotated pixel may be, in its own size


def write(path: Path, raster: Raster) -> None:
    """Write the numbers, and ``.hdr`` in place of the suffix: map info, coordinate system string, nodata, band name.

    A swath with a lookup table is written on the table's orthorectified grid; one without has no map info.

    Args:
        path: the file of numbers.
        raster: the plane.

    Raises:
        SceneError: for a transform that map info has no words for.
    """
    values, transform = orthorectify(raster.values, raster.georeference, raster.nodata)
    crs = None if raster.georeference is None or transform is None else raster.georeference.crs
    header = {
        "description": f"{{{raster.description}}}",
        "samples": values.shape[1],
        "lines": values.shape[0],
        "bands": 1,
        "header offset": 0,
        "file type": "ENVI Standard",
        "data type": _TYPES[values.dtype],
        "interleave": "bsq",
        "byte order": 0,
        "data ignore value": raster.nodata,
        "band names": f"{{{raster.description}}}",
    }
    if transform is not None:
        header["map info"] = f"{{{', '.join(_map_info(path, transform, crs or ''))}}}"
    if crs is not None:
        header["coordinate system string"] = f"{{{_in_esri_words(crs)}}}"
    header |= {_key(name): f"{{{_text(value)}}}" for name, value in raster.tags.items()}
    values.astype(values.dtype.newbyteorder("<")).tofile(path)
    lines = ["ENVI", *(f"{name} = {value}" for name, value in header.items())]
    path.with_suffix(".hdr").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def _map_info(path: Path, transform: Affine, crs: str) -> Iterator[str]:
    """Words of map info: projection, the corner that is tied, pixel sizes, zone, datum, rotation."""
    a, b, x, d, e, y = transform
    size = math.hypot(a, b)
    upright = b == d == 0 and a > 0 > e
    if not upright and max(abs(a + e), abs(b - d)) > _SQUARE * size:
        raise SceneError(
            f"{path.name}: expected pixels that are upright, or square and rotated, which ENVI's map info can say, "
            f"found the transform {transform}; write .tif instead"
        )
    zone = re.search(r"UTM[_ ]zone[_ ](\d+)([NS])", crs, re.IGNORECASE)
    geographic = crs.startswith("GEOG")
    yield "UTM" if zone else "Geographic Lat/Lon" if geographic else "Arbitrary"
    yield from ("1", "1", f"{x:.17g}", f"{y:.17g}", f"{size:.17g}", f"{-e if upright else size:.17g}")
    if zone:
        yield from (zone[1], "North" if zone[2] in "Nn" else "South")
    datum = next((words for name, words in _DATUMS.items() if name in crs), None)
    if datum and (zone or geographic):
        yield datum
    if not upright:
        yield f"rotation={math.degrees(math.atan2(b, a)):.17g}"


def _in_esri_words(crs: str) -> str:
    """The dialect that ENVI reads, where there is a translator; a source in ENVI's format spoke it already."""
    try:
        return extra("rasterio.crs", "geo").CRS.from_wkt(crs).to_wkt(version="WKT1_ESRI")
    except MissingExtraError:
        return crs


def _key(name: str) -> str:
    return name.replace("_", " ").replace("=", " ")


def _text(value: str) -> str:
    """One line without ``=``, since GDAL loses values that have more, or braces, which would end the value."""
    line = "; ".join(filter(None, value.splitlines()))
    return line.replace(" = ", ": ").replace("=", ":").replace("{", "(").replace("}", ")")
