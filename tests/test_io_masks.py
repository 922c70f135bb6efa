"""Masks from files: planes and polygons, in the scene's place or refused."""

from __future__ import annotations

import json
import sqlite3
import struct

import numpy as np
import pytest

from scoread_jax import io
from scoread_jax.errors import SceneError
from scoread_jax.georeference import Georeference
from scoread_jax.io import polygons
from scoread_jax.io.readers import crs

ROWS, COLS = 8, 6
# The left upper part of the scene, without its pixel (1, 1), in the scene's own coordinates.
OUTER = [(500_000, 4_000_000), (500_090, 4_000_000), (500_090, 3_999_850), (500_000, 3_999_850), (500_000, 4_000_000)]
HOLE = [(500_030, 3_999_970), (500_060, 3_999_970), (500_060, 3_999_940), (500_030, 3_999_940), (500_030, 3_999_970)]


def expected():
    inside = np.zeros((ROWS, COLS), bool)
    inside[:5, :3] = True
    inside[1, 1] = False
    return inside


@pytest.fixture
def scene_path(tmp_path):
    """An ENVI scene in UTM zone 33 north, pixels of 30 m."""
    cube = np.random.default_rng(0).integers(1, 99, (ROWS, COLS, 9)).astype("<i2")
    (tmp_path / "scene.img").write_bytes(cube.tobytes())
    (tmp_path / "scene.hdr").write_text(
        f"ENVI\nlines = {ROWS}\nsamples = {COLS}\nbands = 9\ndata type = 2\ninterleave = bip\n"
        "map info = {UTM, 1, 1, 500000, 4000000, 30, 30, 33, North, WGS-84}\n"
    )
    return tmp_path / "scene.hdr"


def geojson(path, rings, name="urn:ogc:def:crs:EPSG::32633"):
    geometry = {"type": "MultiPolygon", "coordinates": [[[list(point) for point in ring] for ring in rings]]}
    feature = {"type": "Feature", "properties": {}, "geometry": geometry}
    about = {} if name is None else {"crs": {"type": "name", "properties": {"name": name}}}
    empty = {"type": "Feature", "properties": {}, "geometry": None}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [empty, feature], **about}))
    return path


def geopackage(path, rings, code=32633, z=False):
    """Write a GeoPackage as QGIS does: header GP with an envelope, then well-known binary."""
    points = b"".join(
        struct.pack("<I", len(ring)) + b"".join(struct.pack("<3d" if z else "<2d", *p, *((5.0,) * z)) for p in ring)
        for ring in rings
    )
    polygon = struct.pack("<BII", 1, 3 + 1000 * z, len(rings)) + points
    multi = struct.pack("<BII", 1, 6 + 1000 * z, 1) + polygon
    blob = b"GP" + struct.pack("<BBi", 0, 0b00000011, code) + struct.pack("<4d", 0, 1, 0, 1) + multi
    with sqlite3.connect(path) as database:
        database.execute(
            "CREATE TABLE gpkg_spatial_ref_sys (srs_id, organization, organization_coordsys_id, definition)"
        )
        database.execute("CREATE TABLE gpkg_geometry_columns (table_name, column_name, srs_id)")
        database.execute('CREATE TABLE "my layer" (fid, geom BLOB)')
        database.execute("INSERT INTO gpkg_spatial_ref_sys VALUES (?, 'EPSG', ?, '')", (code, code))
        database.execute("INSERT INTO gpkg_geometry_columns VALUES ('my layer', 'geom', ?)", (code,))
        database.execute('INSERT INTO "my layer" VALUES (1, ?), (2, NULL)', (blob,))
    database.close()
    return path


def refusal(path, mask):
    with pytest.raises(SceneError) as caught:
        io.read_scene(path, mask_path=mask)
    assert str(caught.value).startswith(str(mask))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["geojson", "gpkg", "gpkg with heights"])
def test_polygons_in_the_scenes_own_system(scene_path, tmp_path, kind):
    pytest.importorskip("rasterio")
    if kind == "geojson":
        path = geojson(tmp_path / "field.geojson", [OUTER, HOLE])
    else:
        path = geopackage(tmp_path / "field.gpkg", [OUTER, HOLE], z=kind != "gpkg")
    image = io.read_scene(scene_path, mask_path=path)
    np.testing.assert_array_equal(image.valid, expected())
    assert f"mask of valid pixels: polygons of {path.name} (8 × 6 bool)" in image.notes


def test_polygons_in_degrees_are_warped(scene_path, tmp_path):
    warp = pytest.importorskip("rasterio.warp")
    rings = [
        list(zip(*warp.transform("EPSG:32633", "EPSG:4326", *zip(*ring, strict=True)), strict=True))
        for ring in (OUTER, HOLE)
    ]
    path = geojson(tmp_path / "field.json", rings, name=None)
    np.testing.assert_array_equal(io.read_scene(scene_path, mask_path=path).valid, expected())


def test_polygons_on_a_swath_and_over_a_rotated_grid():
    row, col = np.mgrid[0.5:4, 0.5:3]
    swath = Georeference(lat=50 - row, lon=10 + col)
    ring = np.array([(10, 50), (12, 50), (12, 48), (10, 48)], float)
    found = np.zeros((4, 3), bool)
    found[:2, :2] = True
    for place in (swath, Georeference(crs.DEGREES, (0, 1, 10, -1, 0, 50))):
        x, y, _ = polygons._centres(place, (4, 3), None, "")
        result = np.zeros((4, 3), bool)
        polygons._fill(result, [ring], x, y)
        np.testing.assert_array_equal(result, found)


def test_polygons_that_do_not_fit_are_refused(scene_path, tmp_path):
    pytest.importorskip("rasterio")
    away = [[(x + 1e5, y) for x, y in OUTER]]
    assert "found no pixel of it inside any" in refusal(scene_path, geojson(tmp_path / "away.geojson", away))
    path = tmp_path / "points.geojson"
    path.write_text('{"type": "Point", "coordinates": [1, 2]}')
    assert "expected polygons, found none" in refusal(scene_path, path)
    path.write_text("{")
    assert "expected GeoJSON, found" in refusal(scene_path, path)
    path.write_text('{"type": "Polygon"}')
    assert "expected GeoJSON, found" in refusal(scene_path, path)
    (tmp_path / "bad.gpkg").write_bytes(b"SQLite format 3\0" + bytes(500))
    assert "expected a GeoPackage, found" in refusal(scene_path, tmp_path / "bad.gpkg")
    np.save(tmp_path / "scene.npy", np.random.default_rng(0).normal(size=(ROWS, COLS, 4)))
    path = geojson(tmp_path / "field.geojson", [OUTER])
    assert "expected a scene whose place is known" in refusal(tmp_path / "scene.npy", path)


def raster(path, values, **options):
    rasterio = pytest.importorskip("rasterio")
    place = {"crs": "EPSG:32633", "transform": rasterio.Affine(30, 0, 500_000, 0, -30, 4_000_000)} | options
    size = {"height": values.shape[0], "width": values.shape[1], "count": 1, "dtype": values.dtype}
    with rasterio.open(path, "w", driver="GTiff", **size, **place) as file:
        file.write(values, 1)
    return path


def test_a_raster_in_the_scenes_place(scene_path, tmp_path):
    mask = expected().astype(np.uint8)
    path = raster(tmp_path / "mask.tif", mask)
    np.testing.assert_array_equal(io.read_scene(scene_path, mask_path=path).valid, expected())
    mask[0, 0] = 255
    path = raster(tmp_path / "mask.tif", mask, nodata=255)
    assert not io.read_scene(scene_path, mask_path=path).valid[0, 0]
    np.save(tmp_path / "mask.npy", expected())
    np.testing.assert_array_equal(io.read_scene(scene_path, mask_path=tmp_path / "mask.npy").valid, expected())


def test_a_raster_in_another_place_is_refused(scene_path, tmp_path):
    rasterio = pytest.importorskip("rasterio")
    mask = expected().astype(np.uint8)
    message = refusal(scene_path, raster(tmp_path / "other.tif", mask, crs="EPSG:32632"))
    assert "reference system WGS 84 / UTM zone 33N, found WGS 84 / UTM zone 32N; warp it" in message
    shifted = rasterio.Affine(30, 0, 500_015, 0, -30, 4_000_000)
    message = refusal(scene_path, raster(tmp_path / "shifted.tif", mask, transform=shifted))
    assert "expected a mask on the scene's grid" in message
    with pytest.raises(SceneError, match=r"expected at least 2 valid pixels, found 1 of 48 .*47 by the mask"):
        io.read_scene(scene_path, mask_path=raster(tmp_path / "few.tif", np.eye(8, 6, k=5).astype("u1")))


def test_reference_systems_in_other_dialects_are_the_same():
    pytest.importorskip("rasterio")
    esri = 'PROJCS["WGS_1984_UTM_Zone_33N",GEOGCS["GCS_WGS_1984",DATUM["D_WGS_1984"]]]'
    assert crs.same(esri, crs.utm(33, False))
    assert crs.same("EPSG:32633", crs.utm(33, False))
    assert crs.same('GEOGCS["GCS_WGS_1984",DATUM["D_WGS_1984"]]', crs.DEGREES)
    assert not crs.same(crs.utm(33, True), crs.utm(33, False))
    assert not crs.same("nonsense", crs.DEGREES)
    assert crs.of_epsg(32733) == crs.utm(33, True)
    assert crs.of_epsg(4326) == crs.DEGREES
    assert crs.of_epsg(2154) is None


def test_muufl_does_not_care_what_its_invalid_pixels_hold(data_dir):
    image = io.read_scene(data_dir / "muufl_masked.mat")
    cube = np.array(image.cube[:])
    for junk in (np.nan, 1e30, -9999, 0):
        cube[~image.valid] = junk
        other = io.make_scene(cube, mask=image.valid)
        np.testing.assert_array_equal(other.valid, image.valid)
        np.testing.assert_array_equal(other.good_bands, image.good_bands)
        np.testing.assert_array_equal(other.low, image.low)
        np.testing.assert_array_equal(other.high, image.high)
