"""Detected objects as outlines on a map (GeoJSON, GeoPackage) or as a table (CSV)."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scoread_jax.errors import SceneError
from scoread_jax.extras import extra
from scoread_jax.georeference import Georeference, coordinates
from scoread_jax.io.atomic import atomic_write
from scoread_jax.objects import Object

_LONGITUDE_LATITUDE = "OGC:CRS84"  # what GeoJSON is in, RFC 7946, section 4
_PLACES = 8  # decimals of a degree: a millimetre

Objects = tuple[list[Object], np.ndarray]
"""As ``objects.find`` returns them."""


def write_objects(
    path: str | os.PathLike[str],
    found: Objects,
    georeference: Georeference | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Write detected objects in the format that the suffix names, whole or not at all.

    ``.csv`` is a table, a row an object. ``.geojson`` (RFC 7946) has the outline of each, in longitude and latitude;
    in the map's own coordinates where it has no reference system; in columns and rows of the image where it has no
    place. ``.gpkg`` (GeoPackage) has them in the map's reference system.

    Args:
        path: the file; one that exists is replaced.
        found: objects, and the number of each pixel's object.
        georeference: of the map.
        tags: provenance, as text; kept by ``.geojson``.

    Raises:
        SceneError: for another suffix.
        MissingExtraError: for ``.geojson`` and ``.gpkg`` without rasterio, and ``.gpkg`` without pyogrio.
        ScoreADError: when the system refuses to write.
    """
    path = Path(path)
    if path.suffix.lower() not in OBJECT_WRITERS:
        raise SceneError(
            f"{path}: expected a file of objects ending in {', '.join(OBJECT_WRITERS)}, "
            f"found {path.suffix or 'no suffix'!r}; choose one of these"
        )
    with atomic_write(path) as temporary:
        OBJECT_WRITERS[path.suffix.lower()](temporary, found, georeference or Georeference(), dict(tags or {}))


def _write_csv(path: Path, found: Objects, georeference: Georeference, tags: Mapping[str, str]) -> None:
    del georeference, tags
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, [field.name for field in dataclasses.fields(Object)])
        table.writeheader()
        table.writerows(dataclasses.asdict(each) for each in found[0])


def _write_geojson(path: Path, found: Objects, georeference: Georeference, tags: Mapping[str, str]) -> None:
    outlines = _outlines(found, georeference)
    if georeference.crs is not None:
        warp = extra("rasterio.warp", "geo")
        outlines = [_moved(warp, outline, georeference.crs) for outline in outlines]
    path.write_text(json.dumps(_collection(found, outlines) | {"provenance": tags}, ensure_ascii=False), "utf-8")


def _write_geopackage(path: Path, found: Objects, georeference: Georeference, tags: Mapping[str, str]) -> None:
    del tags
    raw = extra("pyogrio.raw", "geo")
    collection = json.dumps(_collection(found, _outlines(found, georeference))).encode()
    about, _, outlines, values = raw.read(collection) if found[0] else ({"fields": []}, None, np.array([]), [])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'crs' was not provided")  # where the map has none
        raw.write(
            path,
            outlines,
            list(values),
            list(about["fields"]),
            layer="objects",
            driver="GPKG",
            geometry_type="MultiPolygon",
            promote_to_multi=True,
            crs=georeference.crs,
        )


OBJECT_WRITERS: Mapping[str, Callable[[Path, Objects, Georeference, Mapping[str, str]], None]] = {
    ".csv": _write_csv,
    ".geojson": _write_geojson,
    ".gpkg": _write_geopackage,
}


def _collection(found: Objects, outlines: list[Any]) -> dict[str, Any]:
    features = [
        {
            "type": "Feature",
            "id": each.number,
            "properties": dataclasses.asdict(each),
            "geometry": {"type": "MultiPolygon", "coordinates": outline},
        }
        for each, outline in zip(found[0], outlines, strict=True)
    ]
    return {"type": "FeatureCollection", "features": features}


def _outlines(found: Objects, georeference: Georeference) -> list[list[list[list[list[float]]]]]:
    """Polygons of each object, exterior first and counterclockwise, holes clockwise, in the map's coordinates.

    Pixels that touch by a corner are two polygons: one would cross itself there.
    """
    objects, numbers = found
    outlines: list[list[list[list[list[float]]]]] = [[] for _ in objects]
    shapes = extra("rasterio.features", "geo").shapes
    for shape, number in shapes(numbers.astype(np.int32), mask=numbers > 0, connectivity=4):
        polygon = []
        for place, ring in enumerate(shape["coordinates"]):
            across, down = np.asarray(ring, np.float64).T
            x, y = coordinates(georeference, down - 0.5, across - 0.5)
            points = np.stack([across, down] if x is None else [x, y], axis=1)
            polygon.append(_turned(points, counterclockwise=place == 0).tolist())
        outlines[int(number) - 1].append(polygon)
    return outlines


def _turned(points: np.ndarray, counterclockwise: bool) -> np.ndarray:
    (x, y), (next_x, next_y) = points[:-1].T, points[1:].T
    return points if (np.sum(x * next_y - next_x * y) > 0) == counterclockwise else points[::-1]


def _moved(warp: Any, outline: list[Any], crs: str) -> list[Any]:
    geometry = {"type": "MultiPolygon", "coordinates": outline}
    moved = warp.transform_geom(crs, _LONGITUDE_LATITUDE, geometry, precision=_PLACES)
    polygons = moved["coordinates"]
    return [
        [_turned(np.asarray(ring), counterclockwise=place == 0).tolist() for place, ring in enumerate(polygon)]
        for polygon in polygons
    ]
