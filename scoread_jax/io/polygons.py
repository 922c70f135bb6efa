"""Polygons from GeoJSON and GeoPackage, and which pixels of a scene have their centres inside."""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from scoread_jax.errors import SceneError
from scoread_jax.extras import extra
from scoread_jax.georeference import Georeference
from scoread_jax.io.readers import crs as systems

GEOJSON, GEOPACKAGE = (".geojson", ".json"), (".gpkg",)
SUFFIXES = (*GEOJSON, *GEOPACKAGE)

Polygon = list[np.ndarray]
"""Rings float64 [points, (x, y)]: the outer one, then holes."""

# Bytes of the envelope before the geometry, by the code in the flags of GeoPackage's own header.
_ENVELOPES = (0, 32, 48, 48, 64)


class Layer(NamedTuple):
    """Polygons in one reference system.

    Attributes:
        polygons: all of a file or a table.
        crs: WKT, or a name such as EPSG:4326; x is east and y north, whatever it says of axes.
    """

    polygons: list[Polygon]
    crs: str


def inside(path: Path, georeference: Georeference | None, shape: tuple[int, int], source: str) -> np.ndarray:
    """Find the pixels of a scene whose centres lie in a polygon of a file, warped to the scene where need be.

    Args:
        path: GeoJSON or GeoPackage.
        georeference: of the scene.
        shape: (rows, cols) of the scene.
        source: of the scene, for messages.

    Returns:
        bool [rows, cols].

    Raises:
        SceneError: for a file without polygons, a scene without a place, or where the two do not meet.
        MissingExtraError: rasterio, which warps, is not installed.
    """
    layers = _geojson(path) if path.suffix.lower() in GEOJSON else _geopackage(path)
    if not any(layer.polygons for layer in layers):
        raise SceneError(f"{path}: expected polygons, found none; give a layer of polygons or a mask raster")
    x, y, crs = _centres(georeference, shape, path, source)
    result = np.zeros(shape, bool)
    for layer in layers:
        for polygon in _warped(layer, crs):
            _fill(result, polygon, x, y)
    if not result.any():
        raise SceneError(
            f"{path}: expected polygons over the scene {source}, found no pixel of it inside any; "
            "check the reference system of both"
        )
    return result


def _fill(result: np.ndarray, polygon: Polygon, x: np.ndarray, y: np.ndarray) -> None:
    """Set the pixels inside of a polygon."""
    from matplotlib.path import Path as Outline

    (left, low), (right, high) = polygon[0].min(axis=0), polygon[0].max(axis=0)
    near = np.nonzero((x >= left) & (x <= right) & (y >= low) & (y <= high))
    points = np.column_stack([x[near], y[near]])
    within, *holes = (Outline(ring).contains_points(points) for ring in polygon)
    result[near] |= within & ~np.any([np.zeros(len(points), bool), *holes], axis=0)


def _centres(
    georeference: Georeference | None, shape: tuple[int, int], path: Path, source: str
) -> tuple[np.ndarray, np.ndarray, str]:
    """The place of each pixel's centre, and its reference system."""
    if georeference is not None and georeference.lat is not None and georeference.lon is not None:
        return georeference.lon, georeference.lat, georeference.crs or systems.DEGREES
    if georeference is None or georeference.transform is None or georeference.crs is None:
        raise SceneError(
            f"{path}: expected a scene whose place is known, for polygons, found none in {source}; "
            "give a mask of the scene's rows and columns"
        )
    a, b, c, d, e, f = georeference.transform
    row, col = np.ogrid[0.5 : shape[0], 0.5 : shape[1]]
    return a * col + b * row + c, d * col + e * row + f, georeference.crs


def _warped(layer: Layer, crs: str) -> list[Polygon]:
    if systems.same(layer.crs, crs):
        return layer.polygons
    warp = extra("rasterio.warp", "geo").transform
    return [[np.column_stack(warp(layer.crs, crs, *ring.T)) for ring in polygon] for polygon in layer.polygons]


def _geojson(path: Path) -> list[Layer]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        named = content.get("crs", {}).get("properties", {}).get("name", "OGC:CRS84")
        crs = systems.DEGREES if named.endswith("CRS84") else named
        return [Layer([[_ring(ring) for ring in polygon] for polygon in _polygons(content)], crs)]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SceneError(f"{path}: expected GeoJSON, found: {error}; export the layer again") from error


def _polygons(item: dict[str, Any]) -> Iterator[list[Any]]:
    """Coordinates of all polygons of a GeoJSON object."""
    match item["type"]:
        case "FeatureCollection":
            parts = item["features"]
        case "GeometryCollection":
            parts = item["geometries"]
        case "Feature":
            parts = [item["geometry"]] if item["geometry"] else []
        case "Polygon":
            yield item["coordinates"]
            return
        case "MultiPolygon":
            yield from item["coordinates"]
            return
        case _:
            parts = []
    for part in parts:
        yield from _polygons(part)


def _ring(points: Any) -> np.ndarray:
    return np.array([point[:2] for point in points], np.float64)


def _geopackage(path: Path) -> list[Layer]:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            tables = database.execute(
                "SELECT c.table_name, c.column_name, s.organization, s.organization_coordsys_id, s.definition "
                "FROM gpkg_geometry_columns c JOIN gpkg_spatial_ref_sys s ON c.srs_id = s.srs_id"
            ).fetchall()
            return [
                Layer(
                    [
                        polygon
                        for (blob,) in database.execute(f"SELECT {_quoted(column)} FROM {_quoted(table)}")
                        if blob
                        for polygon in _wkb(blob, 8 + _ENVELOPES[blob[3] >> 1 & 7])[0]
                    ],
                    f"EPSG:{code}" if str(organisation).upper() == "EPSG" else definition,
                )
                for table, column, organisation, code, definition in tables
            ]
    except (sqlite3.Error, struct.error, IndexError) as error:
        raise SceneError(f"{path}: expected a GeoPackage, found: {error}; export the layer again") from error


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _wkb(blob: bytes, at: int) -> tuple[list[Polygon], int]:
    """Read a geometry in well-known binary: its polygons, and where it ends; another kind has none."""
    order = "<" if blob[at] else ">"
    kind, count = struct.unpack_from(f"{order}II", blob, at + 1)
    at += 9
    axes = 2 + (kind // 1000 in (1, 2)) + 2 * (kind // 1000 == 3)
    polygons: list[Polygon] = []
    if kind % 1000 == 3:
        polygons.append([])
        for _ in range(count):
            (points,) = struct.unpack_from(f"{order}I", blob, at)
            values = np.frombuffer(blob, f"{order}f8", points * axes, at + 4)
            polygons[0].append(values.reshape(points, axes)[:, :2].astype(np.float64))
            at += 4 + 8 * points * axes
    elif kind % 1000 in (6, 7):
        for _ in range(count):
            parts, at = _wkb(blob, at)
            polygons += parts
    return polygons, at
