"""Thresholds and objects: the tail is the tail, an object is where it is."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from scoread_jax import cli, io, objects, threshold
from scoread_jax.errors import ConfigError, MissingExtraError, SceneError
from scoread_jax.georeference import Georeference, pixel_areas

ROTATED = (2.0, 1.0, 400_000.0, 1.0, -2.0, 3_000_000.0)


def wkt(code):
    return pytest.importorskip("rasterio.crs").CRS.from_epsg(code).to_wkt()


def run(*arguments):
    return cli.main([str(argument) for argument in arguments])


# Thresholds


@given(seed=st.integers(0, 99), count=st.integers(1, 90), masked=st.integers(0, 9))
def test_count_and_percentile_are_ranks(seed, count, masked):
    scores = np.random.default_rng(seed).permutation(100.0 * np.arange(1, 101)).reshape(10, 10)
    scores[0, :masked] = np.nan
    assert np.count_nonzero(scores >= threshold.by_count(scores, count)) == count
    cut = threshold.by_percentile(scores, 75)
    assert np.count_nonzero(scores >= cut) == np.ceil(0.25 * (100 - masked - 1) + 1e-9) or masked == 0
    assert cut == np.nanpercentile(scores, 75)


def test_ties_are_detected_together():
    scores = np.array([[3.0, 3.0, 2.0], [1.0, 3.0, np.nan]])
    assert threshold.by_count(scores, 1) == 3.0
    assert np.count_nonzero(scores >= threshold.by_count(scores, 1)) == 3


@pytest.mark.parametrize("shape", [-0.3, 0.0, 0.3])
def test_the_tail_of_a_pareto_law_is_found(shape):
    rng = np.random.default_rng(0)
    scores = 5 + 2 * stats.genpareto(shape).rvs(200_000, random_state=rng)
    tail = threshold.fit_tail(scores)
    assert tail.shape == pytest.approx(shape, abs=0.04)
    assert tail.share == pytest.approx(0.1)
    # What lies above a quantile of that law follows it again, with a scale that grows by the shape.
    assert tail.scale == pytest.approx(2 + shape * (tail.start - 5), rel=0.04)
    for rate in (1e-2, 1e-3):
        exact = 5 + 2 * stats.genpareto(shape).isf(rate)
        assert tail.quantile(rate) == pytest.approx(exact, rel=0.03)


@pytest.mark.parametrize("law", [stats.norm(), stats.expon(), stats.gamma(3), stats.t(5)])
def test_the_realised_rate_is_the_one_asked_for(law):
    rng = np.random.default_rng(1)
    seen, unseen = law.rvs(100_000, random_state=rng), law.rvs(1_000_000, random_state=rng)
    for rate, within in ((1e-2, 0.1), (1e-3, 0.4)):  # a Pareto tail is a limit: a normal one gives 1.4e-3 for 1e-3
        cut = threshold.by_false_alarm_rate(seen, rate)
        assert np.mean(unseen >= cut) == pytest.approx(rate, rel=within)


def test_anomalies_raise_the_threshold_but_do_not_carry_it_away():
    rng = np.random.default_rng(2)
    background = rng.gamma(3, size=100_000)
    with_anomalies = np.concatenate([background, 1e6 + rng.random(500)])
    clean, mixed = (threshold.by_false_alarm_rate(scores, 1e-3) for scores in (background, with_anomalies))
    assert clean < mixed < 2 * clean


def test_what_cannot_be_cut_is_refused():
    scores = np.random.default_rng(0).random((20, 20))
    for call in (
        lambda: threshold.by_percentile(scores, 101),
        lambda: threshold.by_count(scores, 0),
        lambda: threshold.by_count(scores, 401),
        lambda: threshold.by_false_alarm_rate(scores, 0.2),
        lambda: threshold.by_false_alarm_rate(scores, 0),
    ):
        with pytest.raises(ConfigError, match="found"):
            call()
    with pytest.raises(SceneError, match="found all of its pixels masked"):
        threshold.by_percentile(np.full((3, 3), np.nan), 50)
    for few in (scores[:5], np.round(scores)):
        with pytest.raises(SceneError, match="to fit the background's tail, found"):
            threshold.by_false_alarm_rate(few, 1e-3)


# Objects


def a_map():
    """Three objects: an L of 3 pixels, two that touch by a corner, one alone; one masked pixel."""
    scores = np.zeros((8, 10))
    scores[1, 1], scores[2, 1], scores[2, 2] = 5, 9, 7
    scores[4, 6], scores[5, 7] = 8, 6
    scores[7, 0] = 10
    scores[0, 9] = np.nan
    return scores


def test_objects_are_what_touches():
    found, numbers = objects.find(a_map(), 5)
    assert [(each.number, each.pixels, each.peak) for each in found] == [(1, 1, 10), (2, 3, 9), (3, 2, 8)]
    second = found[1]
    assert (second.peak_row, second.peak_col, second.mean) == (2, 1, 7)
    assert (second.row, second.col) == pytest.approx((5 / 3, 4 / 3))
    assert second.area is second.x is second.y is None
    expected = np.zeros((8, 10), int)
    expected[7, 0], expected[1:3, 1], expected[2, 2], expected[4, 6], expected[5, 7] = 1, 2, 2, 3, 3
    np.testing.assert_array_equal(numbers, expected)
    assert len(objects.find(a_map(), 5, least_pixels=2)[0]) == 2
    assert objects.find(a_map(), 11) == ([], pytest.approx(np.zeros((8, 10))))


def test_places_and_areas_on_a_rotated_grid():
    found, _ = objects.find(a_map(), 5, Georeference(wkt(32616), ROTATED))
    row, col = 5 / 3 + 0.5, 4 / 3 + 0.5
    assert (found[1].x, found[1].y) == pytest.approx((400_000 + 2 * col + row, 3_000_000 + col - 2 * row))
    assert found[1].area == 3 * 5
    feet = Georeference(wkt(2227), ROTATED)
    assert objects.find(a_map(), 5, feet)[0][1].area == pytest.approx(15 * 0.3048006096**2)
    assert objects.find(a_map(), 5, Georeference(None, ROTATED))[0][1].area == 15


def test_areas_in_degrees_are_those_of_the_ellipsoid():
    """A degree of latitude at 45° north is 111 132 m, one of longitude 78 847 m (both known to a metre)."""
    grid = Georeference(wkt(4326), (0.001, 0, 10, 0, -0.001, 45.0005))
    assert pixel_areas(grid, np.array([0]), np.array([0])) == pytest.approx(111_132 * 78_847 * 1e-6, rel=1e-4)
    row, col = np.mgrid[:6, :5]
    swath = Georeference(wkt(4326), lat=45 - 0.001 * row, lon=10 + 0.001 * col)
    corner_and_middle = pixel_areas(swath, np.array([0, 2]), np.array([0, 2]))
    assert corner_and_middle == pytest.approx(111_132 * 78_847 * 1e-6, rel=1e-3)


# Files


def area_of(ring):
    x, y = np.transpose(ring)
    return 0.5 * float(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]))


def test_geojson_is_in_longitude_and_latitude(tmp_path):
    warp = pytest.importorskip("rasterio.warp")
    where = Georeference(wkt(32616), ROTATED)
    io.write_objects(tmp_path / "o.geojson", objects.find(a_map(), 5, where), where, {"rule": "score 5"})
    found = json.loads((tmp_path / "o.geojson").read_text())
    assert [each["id"] for each in found["features"]] == [1, 2, 3]
    assert found["provenance"] == {"rule": "score 5"}
    alone = found["features"][0]
    assert alone["properties"]["peak"] == 10
    (ring,) = alone["geometry"]["coordinates"][0]
    assert ring[0] == ring[-1]
    assert len(ring) == 5
    assert area_of(ring) > 0  # counterclockwise
    corners = {(2 * col + row, col - 2 * row) for row in (7, 8) for col in (0, 1)}
    lon, lat = warp.transform(
        wkt(32616), "OGC:CRS84", [400_000 + x for x, _ in corners], [3_000_000 + y for _, y in corners]
    )
    assert {(round(x, 6), round(y, 6)) for x, y in ring} == {
        (round(x, 6), round(y, 6)) for x, y in zip(lon, lat, strict=True)
    }
    assert len(found["features"][2]["geometry"]["coordinates"]) == 2  # touch by a corner: two polygons


def test_outlines_without_a_place_are_columns_and_rows_and_have_holes(tmp_path):
    pytest.importorskip("rasterio")
    scores = np.ones((5, 6))
    scores[2, 2], scores[0] = 0, 0
    io.write_objects(tmp_path / "o.geojson", objects.find(scores, 1))
    (polygon,) = json.loads((tmp_path / "o.geojson").read_text())["features"][0]["geometry"]["coordinates"]
    assert [abs(area_of(ring)) for ring in polygon] == [24, 1]
    assert sorted({tuple(point) for point in polygon[1]}) == [(2, 2), (2, 3), (3, 2), (3, 3)]
    assert area_of(polygon[0]) > 0 > area_of(polygon[1])


def test_the_outline_of_a_swath_follows_it(tmp_path):
    pytest.importorskip("rasterio")
    row, col = np.mgrid[:8, :10]
    where = Georeference(wkt(4326), lat=45 - 0.01 * row - 0.002 * col, lon=10 + 0.01 * col)
    io.write_objects(tmp_path / "o.geojson", objects.find(a_map(), 10, where), where)
    ((ring,),) = json.loads((tmp_path / "o.geojson").read_text())["features"][0]["geometry"]["coordinates"]
    expected = {(round(10 + 0.01 * x, 6), round(45 - 0.01 * y - 0.002 * x, 6)) for y in (6.5, 7.5) for x in (-0.5, 0.5)}
    assert {(round(x, 6), round(y, 6)) for x, y in ring} == expected


def test_geopackage_is_in_the_maps_own_system(tmp_path):
    pyogrio = pytest.importorskip("pyogrio")
    where = Georeference(wkt(32616), ROTATED)
    io.write_objects(tmp_path / "o.gpkg", objects.find(a_map(), 5, where), where)
    about = pyogrio.read_info(tmp_path / "o.gpkg")
    assert (about["features"], about["geometry_type"], about["crs"]) == (3, "MultiPolygon", "EPSG:32616")
    assert about["total_bounds"] == pytest.approx((400_003, 2_999_984, 400_022, 3_000_001), abs=10)
    assert "peak" in about["fields"]
    io.write_objects(tmp_path / "none.gpkg", objects.find(a_map(), 99, where), where)
    assert pyogrio.read_info(tmp_path / "none.gpkg")["features"] == 0
    assert sorted(each.name for each in tmp_path.iterdir()) == ["none.gpkg", "o.gpkg"]


def test_objects_that_cannot_be_written(tmp_path, monkeypatch):
    found = objects.find(a_map(), 5)
    with pytest.raises(SceneError, match=r"o\.shp: expected a file of objects ending in \.csv, \.geojson, \.gpkg"):
        io.write_objects(tmp_path / "o.shp", found)
    monkeypatch.setitem(__import__("sys").modules, "rasterio.features", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'scoread-jax\[geo\]'"):
        io.write_objects(tmp_path / "o.geojson", found)
    assert not list(tmp_path.iterdir())


# The command


def test_the_command_writes_mask_objects_and_record(tmp_path, capsys):
    io.write_map(tmp_path / "map.npy", a_map())
    assert run("threshold", tmp_path / "map.npy", "--count", 3) == 0
    out = capsys.readouterr().out
    assert "3 of 79 pixels" in out
    assert "3 objects" in out
    assert {each.name for each in tmp_path.iterdir()} == {
        "map.npy", "detections.npy", "objects.csv", "detections.json",
    }  # fmt: skip
    mask = np.load(tmp_path / "detections.npy")
    assert (np.count_nonzero(mask == 1), np.count_nonzero(mask == 255), mask[7, 0]) == (3, 1, 1)
    with open(tmp_path / "objects.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert [float(row["peak"]) for row in table] == [10, 9, 8]
    record = json.loads((tmp_path / "detections.json").read_text())
    assert (record["threshold"], record["rule"]) == (8, "count 3")


def test_a_placed_map_gives_a_placed_mask_and_geojson(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    io.write_map(tmp_path / "map.img", a_map(), Georeference(wkt(32616), ROTATED))
    assert (
        run("threshold", tmp_path / "map.img", "--score", 5, "--format", "tif", "-o", tmp_path / "out", "--quiet") == 0
    )
    assert {each.name for each in (tmp_path / "out").iterdir()} == {
        "detections.tif", "objects.csv", "objects.geojson", "detections.json",
    }  # fmt: skip
    with rasterio.open(tmp_path / "out" / "detections.tif") as file:
        assert file.crs.to_epsg() == 32616
        np.testing.assert_allclose(tuple(file.transform)[:6], ROTATED)
        assert np.count_nonzero(file.read(1) == 1) == 6


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "one of the arguments --percentile --count --false-alarm-rate --score is required"),
        (("--count", 1, "--score", 2), "not allowed with argument"),
        (("--percentile", 200), "--percentile must be in [0, 100], found 200"),
        (("--count", 1, "--least-pixels", 0), "--least-pixels must be 1 or more"),
        (("--false-alarm-rate", 1e-3), "use --percentile or --count"),
    ],
)
def test_one_sentence_for_what_is_wrong(tmp_path, capsys, arguments, words):
    np.save(tmp_path / "map.npy", a_map())
    assert run("threshold", tmp_path / "map.npy", *arguments) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert [each.name for each in tmp_path.iterdir()] == ["map.npy"]
