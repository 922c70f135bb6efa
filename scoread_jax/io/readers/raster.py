"""GeoTIFF, and whatever else GDAL opens, through rasterio.

GDAL never opens a file in this process: ``raster_server`` does, in one of its own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scoread_jax.bands import UNKNOWN_UNIT
from scoread_jax.errors import MissingExtraError, SceneError
from scoread_jax.extras import expect
from scoread_jax.georeference import Georeference
from scoread_jax.io.contents import Contents
from scoread_jax.io.readers.lazy import check_claim, decoded, greatest_bytes, plane
from scoread_jax.io.readers.server import Server

SUFFIXES = (".tif", ".tiff", ".vrt", ".jp2", ".hfa")

_LENGTH = re.compile(
    r"(\d+(?:\.\d+)?)\s*(nanomet(?:er|re)s?|nm|micromet(?:er|re)s?|microns?|um|µm|μm)\b", re.IGNORECASE
)
_SERVER = Server(Path(__file__).with_name("raster_server.py"), "GDAL")

# Bytes that a slow codec takes, and gives, in a second; and how long it may take for what comes of little.
_STORED_SPEED, _SPEED, _LONGEST = 4e6, 2e7, 6
# Of a block, or of what is asked for, while it is decoded.
_COPIES = 6

_NOT_KEPT = re.compile(r"(AREA_OR_POINT|Band_\d+|wavelength.*|bbl)$", re.IGNORECASE)


def read(path: Path) -> Contents:
    """Read an image: one band as a plane ``array``, several as a lazy ``cube``.

    Wavelengths are looked for in the bands' tags (``wavelength``, or the IMAGERY domain) and in their
    descriptions (``480 nm``), good bands in ``bbl`` of the ENVI domain. A scale and an offset of a band are
    applied, and what no data is becomes NaN; in a plane of whole numbers, 0.

    Args:
        path: the file.

    Raises:
        MissingExtraError: rasterio is not installed.
        SceneError: for an image without bands or of complex numbers, and for a file that GDAL dies of.
        OSError: for one that it refuses.
    """
    expect("rasterio", "geo")
    about = _SERVER.ask(path, "describe")
    kinds = set(about["dtypes"])
    if not kinds or any(np.dtype(kind).kind == "c" for kind in kinds):
        found = f"numbers of type {', '.join(kinds)}" if kinds else "an image without bands"
        raise SceneError(f"{path}: expected bands of real numbers, found {found}; convert it or name one of its images")
    dtype = np.result_type(*kinds)
    rows, cols, bands = shape = tuple(about["shape"])
    check_claim(path, shape, dtype, about["stored"])

    def planes(start: int, stop: int) -> np.ndarray:
        needs = _needs(about, (stop - start) * cols * bands * dtype.itemsize, dtype)
        return _SERVER.read(path, (bands, stop - start, cols), dtype, "read", *needs, dtype.str, start, stop)

    def rows_of(start: int, stop: int) -> np.ndarray:
        return np.ascontiguousarray(np.moveaxis(planes(start, stop), 0, 2))

    scaled = {"scale": (about["scales"], 1.0), "shift": (about["offsets"], 0.0)}
    packing = {word: np.array(numbers) for word, (numbers, none) in scaled.items() if set(numbers) != {none}}
    nodata = about["nodata"]
    cube = decoded(path, shape, dtype, rows_of, tile_rows=about["blocks"][0][0], nodata=nodata, **packing)
    arrays: dict[str, Any] = {"cube": cube}
    if bands == 1:
        numbers = {word: each[0] for word, each in packing.items()}
        arrays = {"array": plane(path, planes(0, rows)[0], nodata=nodata, **numbers)}
    elif about["masked"]:
        needs = _needs(about, rows * cols, np.dtype(np.uint8))
        arrays["valid"] = _SERVER.read(path, (rows, cols), np.dtype(np.uint8), "mask", *needs)
    wavelengths, unit = _wavelengths(about["bands"])
    if wavelengths is not None:
        arrays["wavelength"] = wavelengths
    bad = re.findall(r"[01]", about["envi"].get("bbl", ""))
    if len(bad) == bands:
        arrays["bbl"] = np.array(bad) == "1"
    crs, transform = about["crs"], about["transform"]
    return Contents(
        path,
        arrays,
        {},
        georeference=None if crs is None and transform is None else Georeference(crs, transform and tuple(transform)),
        metadata={key: str(text) for key, text in about["tags"].items() if not _NOT_KEPT.match(key)},
        wavelength_unit=unit,
        notes=(
            f"{about['driver']} through GDAL",
            *(() if nodata is None else (f"no data where the file holds {nodata:g} (nodata)",)),
        ),
    )


def opens(path: Path) -> bool:
    """Whether GDAL knows the format of a file; False, too, where rasterio is not installed.

    Raises:
        SceneError: for a file that GDAL dies of.
    """
    try:
        expect("rasterio", "geo")
        _SERVER.ask(path, "opens")
    except (MissingExtraError, OSError):
        return False
    return True


def _needs(about: Mapping[str, Any], wanted: int, dtype: np.dtype) -> tuple[int, float]:
    """Bytes and seconds that so many bytes of an image may take to be read."""
    stored, bands = about["stored"], about["shape"][2] if about["by_pixel"] else 1
    block = math.prod(about["blocks"][0]) * bands * dtype.itemsize
    room = wanted + stored + min(_COPIES * max(block, wanted), greatest_bytes(stored))
    return room, stored / _STORED_SPEED + min((wanted + block) / _SPEED, _LONGEST)


def _wavelengths(bands: list[Mapping[str, Any]]) -> tuple[np.ndarray | None, str]:
    """The wavelengths and their unit, where every band has one."""
    found = [_wavelength(band) for band in bands]
    numbers, units = [number for number, _ in found], {unit for _, unit in found}
    if None in numbers or len(units) > 1:
        return None, UNKNOWN_UNIT
    return np.array(numbers, np.float64), units.pop()


def _wavelength(band: Mapping[str, Any]) -> tuple[float | None, str]:
    tags = {key.lower(): text for key, text in band["tags"].items()}
    if re.fullmatch(r"[\d.]+", tags.get("wavelength", "")):
        return float(tags["wavelength"]), tags.get("wavelength_units", tags.get("wavelength_unit", UNKNOWN_UNIT))
    centre = band["imagery"].get("CENTRAL_WAVELENGTH_UM")
    if centre:
        return float(centre), "um"
    described = _LENGTH.search(band["description"] or "")
    return (float(described[1]), described[2]) if described else (None, UNKNOWN_UNIT)
