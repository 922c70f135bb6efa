"""Anomaly maps and masks of detections to files, in the format that the suffix names.

A format is one function ``(path, Raster) -> None`` and a line in ``WRITERS``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from scoread_jax.errors import SceneError
from scoread_jax.georeference import Georeference
from scoread_jax.io.atomic import atomic_files
from scoread_jax.io.writers import cf, envi, geotiff, plain
from scoread_jax.io.writers.raster import ANOMALY_SCORE, DETECTIONS, NO_DETECTION_KNOWN, Raster

__all__ = ["WRITERS", "check_suffix", "write_map", "write_mask"]

WRITERS: Mapping[str, Callable[[Path, Raster], None]] = {
    ".npy": plain.write_npy,
    ".npz": plain.write_npz,
    ".mat": plain.write_mat,
    ".png": plain.write_png,
    ".tif": geotiff.write,
    ".tiff": geotiff.write,
    ".img": envi.write,
    ".dat": envi.write,
    ".nc": cf.write_netcdf,
    ".zarr": cf.write_zarr,
}


def write_map(
    path: str | os.PathLike[str],
    anomaly_map: np.ndarray,
    georeference: Georeference | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Write an anomaly map in the format that the suffix names, whole or not at all.

    ``.tif`` (cloud-optimised) and ``.img`` or ``.dat`` (ENVI, with its ``.hdr``) hold an affine transform: a swath goes
    there by its lookup table, onto the orthorectified grid. ``.nc`` (NetCDF-4) and ``.zarr`` keep sensor geometry,
    with latitude and longitude. ``.mat`` (v5, ``SAD_result``), ``.npz`` (``map``), ``.npy`` and ``.png`` (colours, one
    image pixel a scene pixel) know no place.

    Args:
        path: the file; one that exists is replaced.
        anomaly_map: finite [rows, cols], NaN where masked; float64 stays float64, all else becomes float32.
        georeference: where its pixels lie.
        tags: provenance, as text; kept by all formats but ``.npy``.

    Raises:
        SceneError: for an unknown suffix, an array that is no map, or a place that the format cannot hold.
        MissingExtraError: for ``.tif`` without rasterio, and ``.zarr`` without zarr.
        ScoreADError: when the system refuses to write.
    """
    values = np.asarray(anomaly_map)
    values = values if values.dtype == np.float64 else values.astype(np.float32)
    infinite = np.count_nonzero(np.isinf(values))
    if infinite:
        raise SceneError(f"{path}: expected a finite map, found {infinite} infinite scores; set those pixels to NaN")
    _write(Path(path), Raster(values, ANOMALY_SCORE, float("nan"), georeference, dict(tags or {})))


def write_mask(
    path: str | os.PathLike[str],
    detected: np.ndarray,
    valid: np.ndarray,
    georeference: Georeference | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Write which pixels are detected, as ``write_map`` writes scores: 1, 0, and 255 where the map is masked.

    Args:
        path: as for ``write_map``.
        detected: bool [rows, cols].
        valid: bool [rows, cols], False where the map is masked.
        georeference: as for ``write_map``.
        tags: as for ``write_map``.

    Raises:
        ScoreADError: as ``write_map`` does.
    """
    values = np.where(valid, detected, NO_DETECTION_KNOWN).astype(np.uint8)
    _write(Path(path), Raster(values, DETECTIONS, NO_DETECTION_KNOWN, georeference, dict(tags or {})))


def check_suffix(path: str | os.PathLike[str]) -> str:
    """Refuse a file whose suffix names no format; return the suffix, in lower case.

    Raises:
        SceneError: for another suffix.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in WRITERS:
        raise SceneError(
            f"{path}: expected a map file ending in {', '.join(WRITERS)}, "
            f"found {Path(path).suffix or 'no suffix'!r}; choose one of these"
        )
    return suffix


def check_replaceable(path: Path) -> None:
    """Refuse to replace a folder that is no map.

    Raises:
        SceneError: for such a folder.
    """
    if path.is_dir() and not (path / "zarr.json").exists():
        raise SceneError(f"{path}: expected a map to replace, found a folder of something else; choose another place")


def _write(path: Path, raster: Raster) -> None:
    write = WRITERS[check_suffix(path)]
    if raster.values.ndim != 2 or not raster.values.size:
        raise SceneError(f"{path}: expected a map [rows, cols], found an array of shape {raster.values.shape}")
    check_replaceable(path)
    with atomic_files(path) as temporary:
        write(temporary, raster)
