"""How images are opened: a script of ``serving``, never imported. Through rasterio, which is GDAL, alone."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Megabytes. Files are opened for each request, so that what GDAL keeps of them is of use to nobody.
os.environ["GDAL_CACHEMAX"] = "16"

import numpy as np
import rasterio
from rasterio.enums import Interleaving, MaskFlags
from rasterio.errors import RasterioIOError

Limit = Callable[[int, float], None]

_OPENING = 4  # seconds of computing


def opens(limit: Limit, path: str) -> dict[str, Any]:
    """Nothing, of a file whose format GDAL knows."""
    limit(Path(path).stat().st_size, _OPENING)
    with _opened(path):
        return {}


def describe(limit: Limit, path: str) -> dict[str, Any]:
    """What a file says of an image and of its bands."""
    limit(Path(path).stat().st_size, _OPENING)
    with _opened(path) as image:
        flags = image.mask_flag_enums[:1]
        return {
            "driver": image.driver,
            "shape": (image.height, image.width, image.count),
            "dtypes": image.dtypes,
            "stored": sum(Path(name).stat().st_size for name in image.files if Path(name).is_file()),
            "blocks": image.block_shapes[:1],
            "by_pixel": image.interleaving == Interleaving.pixel,
            "masked": any(MaskFlags.per_dataset in each for each in flags),
            "scales": image.scales,
            "offsets": image.offsets,
            "nodata": image.nodata,
            "tags": image.tags(),
            "envi": image.tags(ns="ENVI"),
            "bands": [
                {"tags": image.tags(band), "imagery": image.tags(band, ns="IMAGERY"), "description": description}
                for band, description in zip(image.indexes, image.descriptions, strict=True)
            ],
            "crs": image.crs.to_wkt() if image.crs else None,
            "transform": None if image.transform.is_identity else image.transform[:6],
        }


def read(limit: Limit, path: str, room: int, seconds: float, dtype: str, start: int, stop: int) -> np.ndarray:
    """Rows of all bands [bands, rows, cols], as they lie in most files."""
    limit(room, seconds)
    with _opened(path) as image:
        return image.read(window=((start, stop), (0, image.width)), out_dtype=dtype)


def mask(limit: Limit, path: str, room: int, seconds: float) -> np.ndarray:
    """Where the pixels of all bands are valid [rows, cols]: not 0."""
    limit(room, seconds)
    with _opened(path) as image:
        return image.dataset_mask()


@contextlib.contextmanager
def _opened(path: str) -> Iterator[Any]:
    try:
        with rasterio.open(Path(path)) as image:
            yield image
    except RasterioIOError as error:
        # Its own words may be "see previous exception for details".
        raise OSError(str(error.__cause__ or error).rstrip(".")) from error


COMMANDS = {"opens": opens, "describe": describe, "read": read, "mask": mask}
