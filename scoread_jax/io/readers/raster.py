"""GeoTIFF, and whatever else GDAL opens, through rasterio."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from scoread_jax.bands import UNKNOWN_UNIT
from scoread_jax.errors import MissingExtraError, SceneError
from scoread_jax.extras import extra
from scoread_jax.georeference import Georeference
from scoread_jax.io.contents import Contents
from scoread_jax.io.readers.lazy import check_claim, decoded, plane

SUFFIXES = (".tif", ".tiff", ".vrt", ".jp2", ".hfa")

_LENGTH = re.compile(
    r"(\d+(?:\.\d+)?)\s*(nanomet(?:er|re)s?|nm|micromet(?:er|re)s?|microns?|um|µm|μm)\b", re.IGNORECASE
)
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
        SceneError: for an image without bands, or of complex numbers.
    """
    with _rasterio().open(path) as dataset:
        return _contents(path, dataset)


def opens(path: Path) -> bool:
    """Whether GDAL knows the format of a file; False, too, where rasterio is not installed."""
    try:
        _rasterio().open(path).close()
    except (MissingExtraError, OSError):  # rasterio's own error is an OSError
        return False
    return True


def _rasterio() -> Any:
    rasterio = extra("rasterio", "geo")
    # No place is nothing to warn of. The filter stays: threads read blocks, and filters are all threads'.
    warnings.filterwarnings("ignore", category=rasterio.errors.NotGeoreferencedWarning, append=True)
    return rasterio


def _contents(path: Path, dataset: Any) -> Contents:
    rasterio = _rasterio()
    kinds = set(dataset.dtypes)
    if not kinds or any(np.dtype(kind).kind == "c" for kind in kinds):
        found = f"numbers of type {', '.join(kinds)}" if kinds else "an image without bands"
        raise SceneError(f"{path}: expected bands of real numbers, found {found}; convert it or name one of its images")
    dtype = np.result_type(*kinds)
    shape = dataset.height, dataset.width, dataset.count
    check_claim(path, shape, dtype, sum(Path(name).stat().st_size for name in dataset.files if Path(name).is_file()))

    def rows_of(start: int, stop: int) -> np.ndarray:
        with rasterio.open(path) as image:
            values = image.read(window=((start, stop), (0, image.width)), out_dtype=dtype)
        return np.ascontiguousarray(np.moveaxis(values, 0, 2))

    scaled = {"scale": (dataset.scales, 1.0), "shift": (dataset.offsets, 0.0)}
    packing = {word: np.array(numbers) for word, (numbers, none) in scaled.items() if set(numbers) != {none}}
    cube = decoded(
        path,
        shape,
        dtype,
        rows_of,
        tile_rows=dataset.block_shapes[0][0],
        nodata=dataset.nodata,
        **packing,
    )
    arrays: dict[str, Any] = {"cube": cube}
    if dataset.count == 1:
        numbers = {word: each[0] for word, each in packing.items()}
        arrays = {"array": plane(path, dataset.read(1), nodata=dataset.nodata, **numbers)}
    elif rasterio.enums.MaskFlags.per_dataset in dataset.mask_flag_enums[0]:
        arrays["valid"] = dataset.dataset_mask()
    wavelengths, unit = _wavelengths(dataset)
    if wavelengths is not None:
        arrays["wavelength"] = wavelengths
    bad = re.findall(r"[01]", dataset.tags(ns="ENVI").get("bbl", ""))
    if len(bad) == dataset.count:
        arrays["bbl"] = np.array(bad) == "1"
    return Contents(
        path,
        arrays,
        {},
        georeference=_georeference(dataset),
        metadata={key: str(text) for key, text in dataset.tags().items() if not _NOT_KEPT.match(key)},
        wavelength_unit=unit,
        notes=(
            f"{dataset.driver} through GDAL",
            *(() if dataset.nodata is None else (f"no data where the file holds {dataset.nodata:g} (nodata)",)),
        ),
    )


def _wavelengths(dataset: Any) -> tuple[np.ndarray | None, str]:
    """The wavelengths and their unit, where every band has one."""
    found = [_wavelength(dataset, band) for band in dataset.indexes]
    numbers, units = [number for number, _ in found], {unit for _, unit in found}
    if None in numbers or len(units) > 1:
        return None, UNKNOWN_UNIT
    return np.array(numbers, np.float64), units.pop()


def _wavelength(dataset: Any, band: int) -> tuple[float | None, str]:
    tags = {key.lower(): text for key, text in dataset.tags(band).items()}
    if re.fullmatch(r"[\d.]+", tags.get("wavelength", "")):
        return float(tags["wavelength"]), tags.get("wavelength_units", tags.get("wavelength_unit", UNKNOWN_UNIT))
    centre = dataset.tags(band, ns="IMAGERY").get("CENTRAL_WAVELENGTH_UM")
    if centre:
        return float(centre), "um"
    described = _LENGTH.search(dataset.descriptions[band - 1] or "")
    return (float(described[1]), described[2]) if described else (None, UNKNOWN_UNIT)


def _georeference(dataset: Any) -> Georeference | None:
    crs = dataset.crs.to_wkt() if dataset.crs else None
    if dataset.transform.is_identity:
        return None if crs is None else Georeference(crs)
    return Georeference(crs, tuple(dataset.transform[:6]))
