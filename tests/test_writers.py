"""Writers: what GDAL, xarray, h5py and MATLAB's reader find in the files is what was given."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from PIL import Image

from scoread_jax import cli, config, datasets, io, results
from scoread_jax.errors import MissingExtraError, SceneError, ScoreADError
from scoread_jax.georeference import Georeference, orthorectify
from scoread_jax.io import atomic

TAGS = {"software": "scoread-jax 9", "configuration": '[sde]\nname = "exponential_ve"\n', "input_sha256": "ab" * 32}
UPRIGHT = (30.0, 0.0, 500_000.0, 0.0, -30.0, 4_000_000.0)
OBLONG = (0.001, 0.0, -88.5, 0.0, -0.0005, 30.25)


def rotated(degrees, size=4.0, x=400_000.0, y=3_000_000.0):
    angle = np.radians(degrees)
    across, along = size * np.cos(angle), size * np.sin(angle)
    return (across, along, x, along, -across, y)


def wkt(code):
    crs = pytest.importorskip("rasterio.crs")
    return crs.CRS.from_epsg(code).to_wkt()


def a_map(rows=7, cols=5):
    scores = np.random.default_rng(0).normal(size=(rows, cols)).astype(np.float32)
    scores[2, 3] = np.nan
    return scores


def swath(rows=7, cols=5, glt=True):
    """A swath that lies slanted, and a lookup table that is a little larger and leaves its margin empty."""
    row, col = np.mgrid[:rows, :cols]
    lat, lon = 40 - 0.01 * row - 0.002 * col, 10 + 0.01 * col - 0.002 * row
    if not glt:
        return Georeference(crs=wkt(4326), lat=lat, lon=lon)
    table = np.full((rows + 2, cols + 3, 2), -1, np.int32)
    table[1:-1, 2:-1] = np.stack([row, col], axis=-1)
    return Georeference(wkt(4326), None, lat, lon, table, (0.01, 0.0, 9.9, 0.0, -0.01, 40.1))


# Through GDAL


@pytest.mark.parametrize("suffix", [".tif", ".tiff", ".img", ".dat", ".nc"])
@pytest.mark.parametrize(
    ("code", "transform"),
    [
        (32616, UPRIGHT),
        (32733, rotated(-23)),
        (26918, rotated(157.5)),
        (4326, OBLONG),
        (3035, UPRIGHT),
        (2154, rotated(1e-3)),
        (None, UPRIGHT),
    ],
)
def test_gdal_finds_what_was_written(tmp_path, suffix, code, transform):
    rasterio = pytest.importorskip("rasterio")
    path = tmp_path / f"map{suffix}"
    io.write_map(path, a_map(), Georeference(code and wkt(code), transform), TAGS)
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read(1), a_map())
        assert (file.count, file.dtypes, file.interleaving) == (1, ("float32",), file.interleaving)
        assert np.isnan(file.nodata)
        np.testing.assert_allclose(tuple(file.transform)[:6], transform, rtol=1e-12, atol=1e-9)
        if code is not None:
            assert file.crs == rasterio.crs.CRS.from_epsg(code)
        elif suffix.startswith(".tif"):
            assert file.crs is None
        if suffix != ".nc":
            assert file.descriptions == ("anomaly score",)
        else:
            assert file.tags(1)["long_name"] == "anomaly score"


@pytest.mark.parametrize("suffix", [".tif", ".img", ".nc"])
def test_provenance_travels_through_gdal(tmp_path, suffix):
    rasterio = pytest.importorskip("rasterio")
    path = tmp_path / f"map{suffix}"
    io.write_map(path, a_map(), Georeference(wkt(32616), UPRIGHT), TAGS)
    with rasterio.open(path) as file:
        found = file.tags(ns="ENVI") if suffix == ".img" else file.tags()
    for name, value in TAGS.items():
        key = f"NC_GLOBAL#{name}" if suffix == ".nc" else name
        words = found[key].strip("{}").replace("; ", "\n").replace(": ", " = ") if suffix == ".img" else found[key]
        assert words.strip() == value.strip()


@pytest.mark.parametrize("suffix", [".tif", ".img", ".nc", ".zarr", ".npy", ".npz", ".mat"])
def test_masks_hold_zero_one_and_255(tmp_path, suffix):
    path, scores = tmp_path / f"mask{suffix}", a_map()
    io.write_mask(path, scores > 1, ~np.isnan(scores), Georeference(wkt(32616), UPRIGHT))
    expected = np.where(np.isnan(scores), 255, scores > 1)
    if suffix in (".tif", ".img", ".nc"):
        with pytest.importorskip("rasterio").open(path) as file:
            found = file.read(1)
            assert file.nodata == 255
            assert file.dtypes == ("uint8",)
    elif suffix == ".zarr":
        found = pytest.importorskip("zarr").open_group(path)["detections"][:]
    elif suffix == ".mat":
        found = scipy.io.loadmat(path)["detections"]
    else:
        found = np.load(path)
        found = found["detections"] if suffix == ".npz" else found
    np.testing.assert_array_equal(found, expected)


def test_a_geotiff_without_a_place_is_no_reason_to_warn(tmp_path):
    pytest.importorskip("rasterio")
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        io.write_map(tmp_path / "map.tif", values, None)
        np.testing.assert_array_equal(io.read_map(tmp_path / "map.tif"), values)


def test_the_geotiff_is_cloud_optimised(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    scores = np.random.default_rng(0).normal(size=(700, 600)).astype(np.float32)
    io.write_map(tmp_path / "map.tif", scores, Georeference(wkt(32616), rotated(-23)))
    with rasterio.open(tmp_path / "map.tif") as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.overviews(1) == [2]
    assert [each.name for each in tmp_path.iterdir()] == ["map.tif"]


def test_a_double_map_stays_double(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    for suffix in (".tif", ".img", ".nc"):
        where = Georeference(wkt(32616), UPRIGHT)
        io.write_map(tmp_path / f"map{suffix}", a_map().astype(np.float64) + 1e-12, where)
        with rasterio.open(tmp_path / f"map{suffix}") as file:
            np.testing.assert_array_equal(file.read(1), a_map().astype(np.float64) + 1e-12)


@pytest.mark.parametrize("transform", [(30, 7, 4e5, -2, -20, 3e6), (30, 0, 4e5, 0, 30, 3e6), (3, 1, 0, 1.5, -2, 0)])
def test_envi_has_no_words_for_slanted_or_upside_down_pixels(tmp_path, transform):
    with pytest.raises(SceneError, match=r"map\.img: expected pixels that are upright.*write \.tif instead"):
        io.write_map(tmp_path / "map.img", a_map(), Georeference(wkt(32733), transform))
    assert list(tmp_path.iterdir()) == []
    io.write_map(tmp_path / "map.tif", a_map(), Georeference(wkt(32733), transform))
    with pytest.importorskip("rasterio").open(tmp_path / "map.tif") as file:
        np.testing.assert_allclose(tuple(file.transform)[:6], transform)


def test_the_envi_header_is_read_by_spectral_too(tmp_path):
    envi = pytest.importorskip("spectral.io.envi")
    io.write_map(tmp_path / "map.img", a_map(), Georeference(wkt(32616), UPRIGHT), TAGS)
    found = envi.open(tmp_path / "map.hdr")
    np.testing.assert_array_equal(found.read_band(0), a_map())
    assert found.metadata["map info"][:8] == ["UTM", "1", "1", "500000", "4000000", "30", "30", "16"]
    assert found.metadata["band names"] == ["anomaly score"]
    assert found.metadata["input sha256"] == [TAGS["input_sha256"]]


@pytest.mark.parametrize("suffix", [".tif", ".img", ".nc", ".zarr"])
@pytest.mark.parametrize(("code", "transform"), [(32616, UPRIGHT), (32733, rotated(-23)), (4326, OBLONG)])
def test_maps_come_back_with_their_place(tmp_path, suffix, code, transform):
    crs = pytest.importorskip("rasterio.crs").CRS
    if suffix == ".zarr":
        pytest.importorskip("zarr")
    io.write_map(tmp_path / f"map{suffix}", a_map(), Georeference(wkt(code), transform), TAGS)
    found, where = io.read_placed_map(tmp_path / f"map{suffix}")
    np.testing.assert_array_equal(found, a_map())
    np.testing.assert_allclose(where.transform, transform, rtol=1e-12, atol=1e-9)
    assert crs.from_wkt(where.crs).to_epsg() == code


# Swaths


@pytest.mark.parametrize("suffix", [".tif", ".img"])
def test_a_swath_goes_to_its_orthorectified_grid(tmp_path, suffix):
    rasterio = pytest.importorskip("rasterio")
    where = swath()
    io.write_map(tmp_path / f"map{suffix}", a_map(), where)
    expected = np.full((9, 8), np.nan, np.float32)
    expected[1:-1, 2:-1] = a_map()
    with rasterio.open(tmp_path / f"map{suffix}") as file:
        np.testing.assert_array_equal(file.read(1), expected)
        assert tuple(file.transform)[:6] == pytest.approx(where.glt_transform)
        assert file.crs.to_epsg() == 4326


def test_a_swath_without_a_table_is_pinned_to_its_latitudes(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    where = swath(50, 30, glt=False)
    io.write_map(tmp_path / "map.tif", a_map(50, 30), where)
    with rasterio.open(tmp_path / "map.tif") as file:
        np.testing.assert_array_equal(file.read(1), a_map(50, 30))
        points, crs = file.gcps
        assert crs.to_epsg() == 4326
        assert len(points) == 400
        for point in points:
            row, col = int(point.row), int(point.col)
            assert (point.x, point.y) == pytest.approx((where.lon[row, col], where.lat[row, col]))


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_a_swath_keeps_its_geometry_and_coordinates(tmp_path, suffix):
    where = swath()
    io.write_map(tmp_path / f"map{suffix}", a_map(), where, TAGS)
    if suffix == ".nc":
        with h5py.File(tmp_path / "map.nc") as file:
            found = {name: file[name][()] for name in file}
            score = dict(file["anomaly_score"].attrs)
            assert [axis[0].name for axis in file["anomaly_score"].dims] == ["/row", "/col"]
            about = dict(file.attrs)
    else:
        group = pytest.importorskip("zarr").open_group(tmp_path / "map.zarr", mode="r")
        found = {name: group[name][...] for name in group}
        score, about = dict(group["anomaly_score"].attrs), dict(group.attrs)
        assert group["anomaly_score"].metadata.dimension_names == ("row", "col")
    np.testing.assert_array_equal(found["anomaly_score"], a_map())
    np.testing.assert_array_equal(found["lat"], where.lat)
    np.testing.assert_array_equal(found["lon"], where.lon)
    assert score["coordinates"] == "lat lon"
    assert about["Conventions"] == "CF-1.11"
    assert TAGS.items() <= about.items()


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_xarray_reads_coordinates_and_mask(tmp_path, suffix):
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf" if suffix == ".nc" else "zarr")
    for name, where in (("plain", None), ("map", Georeference(wkt(32616), UPRIGHT)), ("swath", swath())):
        path = tmp_path / f"{name}{suffix}"
        io.write_map(path, a_map(), where)
        options = {"engine": "h5netcdf"} if suffix == ".nc" else {"engine": "zarr", "consolidated": False}
        with xarray.open_dataset(path, **options) as found:
            np.testing.assert_array_equal(found.anomaly_score, a_map())
            if name == "map":
                np.testing.assert_allclose(found.x, 500_015 + 30 * np.arange(5))
                np.testing.assert_allclose(found.y, 3_999_985 - 30 * np.arange(7))
                assert found.x.standard_name == "projection_x_coordinate"
            assert (
                set(found.anomaly_score.coords)
                == {
                    "plain": {"row", "col"},
                    "map": {"x", "y"},
                    "swath": {"row", "col", "lat", "lon"},
                }[name]
            )


def test_orthorectify_is_the_table():
    where = swath()
    assert orthorectify(a_map(), None, np.nan)[1] is None
    same, transform = orthorectify(a_map(), Georeference(None, UPRIGHT), np.nan)
    np.testing.assert_array_equal(same, a_map())
    assert transform == UPRIGHT
    mask, _ = orthorectify((a_map() > 0).astype(np.uint8), where, 255)
    assert mask.dtype == np.uint8
    assert (mask[0] == 255).all()


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_a_swath_comes_back_with_its_coordinates(tmp_path, suffix):
    if suffix == ".zarr":
        pytest.importorskip("zarr")
    io.write_map(tmp_path / f"map{suffix}", a_map(), swath())
    found, where = io.read_placed_map(tmp_path / f"map{suffix}")
    np.testing.assert_array_equal(found, a_map())
    np.testing.assert_array_equal(where.lat, swath().lat)
    np.testing.assert_array_equal(where.lon, swath().lon)


# Without a place


def test_provenance_travels_in_plain_formats(tmp_path):
    for suffix in (".mat", ".npz", ".png", ".npy"):
        io.write_map(tmp_path / f"map{suffix}", a_map(), None, TAGS)
    assert json.loads(scipy.io.loadmat(tmp_path / "map.mat")["provenance"][0]) == TAGS
    assert json.loads(str(np.load(tmp_path / "map.npz")["provenance"])) == TAGS
    image = Image.open(tmp_path / "map.png")
    assert TAGS.items() <= image.text.items()
    assert image.size == (5, 7)
    for suffix in (".mat", ".npz", ".npy"):
        np.testing.assert_array_equal(io.read_map(tmp_path / f"map{suffix}"), a_map())


# What goes wrong


@pytest.mark.parametrize("suffix", list(io.WRITERS))
def test_a_file_too_large_leaves_nothing_behind(tmp_path, suffix):
    """A limit on the size of files stands in for a full disk: the system refuses within the write."""
    if suffix in (".tif", ".tiff"):
        pytest.importorskip("rasterio")
    if suffix == ".zarr":
        pytest.importorskip("zarr")
    program = (
        "import sys, resource, numpy as np\n"
        "from scoread_jax import errors, io\n"
        "scores = np.random.default_rng(0).normal(size=(300, 300)).astype(np.float32)\n"
        "io.write_map(sys.argv[1], scores[:4, :4])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "try:\n    io.write_map(sys.argv[1], scores)\n"
        "except errors.ScoreADError as error:\n    print(error)\n"
    )
    path = tmp_path / f"map{suffix}"
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{path}: expected to write there, found: ")
    assert done.stdout.count("\n") == 1
    assert {each.name for each in tmp_path.iterdir()} <= {path.name, "map.hdr"}
    if suffix in (".npy", ".npz", ".mat"):
        assert io.read_map(path).shape == (4, 4)


def test_a_pair_is_replaced_together_or_not_at_all(tmp_path, monkeypatch):
    io.write_map(tmp_path / "map.img", a_map())
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    replace, calls = os.replace, []

    def second_move_fails(source, target):
        calls.append(target)
        if len(calls) == 4:  # the first of the pair is in place, the second one's predecessor out of the way
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(atomic.os, "replace", second_move_fails)
    with pytest.raises(ScoreADError, match=r"map\.img: .*No space left on device"):
        io.write_map(tmp_path / "map.img", a_map(9, 9))
    assert len(calls) > 4
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before


def test_a_folder_is_replaced_only_where_it_is_a_store(tmp_path):
    zarr = pytest.importorskip("zarr")
    path = tmp_path / "map.zarr"
    path.mkdir()
    (path / "thesis.txt").write_text("years of work")
    with pytest.raises(SceneError, match="found a folder of something else"):
        io.write_map(path, a_map())
    assert (path / "thesis.txt").read_text() == "years of work"
    for rows in (7, 9):
        io.write_map(tmp_path / "other.zarr", a_map(rows))
    assert zarr.open_group(tmp_path / "other.zarr", mode="r")["anomaly_score"].shape == (9, 5)
    assert {each.name for each in tmp_path.iterdir()} == {"map.zarr", "other.zarr"}


@pytest.mark.parametrize(("suffix", "module"), [(".tif", "rasterio"), (".zarr", "zarr")])
def test_a_missing_library_is_one_sentence(tmp_path, monkeypatch, suffix, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"{module}.*pip install 'scoread-jax\[(geo|zarr)\]'"):
        io.write_map(tmp_path / f"map{suffix}", a_map())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_one_sentence(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(ScoreADError, match="Permission denied"):
            io.write_map(tmp_path / "map.img", a_map())
    finally:
        tmp_path.chmod(0o700)


def test_infinite_maps_are_refused(tmp_path):
    with pytest.raises(SceneError, match="found 1 infinite scores"):
        io.write_map(tmp_path / "map.npy", np.array([[1.0, np.inf]]))


# What a run leaves


def test_a_scene_with_a_place_gets_a_geotiff(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    placed = dataclasses.replace(
        datasets.synthetic(rows=12, cols=10, bands=8), georeference=Georeference(None, UPRIGHT)
    )
    scores = np.random.default_rng(0).random((12, 10)).astype(np.float32)
    output = results.in_folder(tmp_path / "out", placed.georeference)
    assert [path.name for path in output.maps] == ["map.npy", "map.mat", "map.tif"]
    record, _ = results.write(output, placed, scores, config.load("demo"), 1.0)
    with rasterio.open(tmp_path / "out" / "map.tif") as file:
        np.testing.assert_array_equal(file.read(1), scores)
        tags = file.tags()
    assert tags["input_sha256"] == record["scene"]["sha256"]
    assert tags["configuration"] == config.to_toml(config.load("demo"))
    assert (tmp_path / "out" / "overview.png").exists()


@pytest.mark.parametrize("fails", ["config.toml", "result.json"])
def test_results_replace_earlier_ones_together_or_not_at_all(tmp_path, monkeypatch, fails):
    image = datasets.synthetic(rows=12, cols=10, bands=8)
    output, recipe = results.in_folder(tmp_path / "out", None), config.load("demo")
    first, second = np.random.default_rng(0).random((2, 12, 10))
    results.write(output, image, first, recipe, 1.0)
    earlier = {path.name: path.read_bytes() for path in output.folder.iterdir()}
    assert set(earlier) == set(results.FILES)
    replace = os.replace

    def full(source, target):
        if Path(target) == output.folder / fails and Path(source).parent.name != ".replaced":
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(atomic.os, "replace", full)
    with pytest.raises(ScoreADError, match=f"{output.folder}: expected to write there, found: No space left on device"):
        results.write(output, image, second, recipe, 2.0)
    assert {path.name: path.read_bytes() for path in output.folder.iterdir()} == earlier
    monkeypatch.undo()
    (output.folder / "report.html").unlink()
    (output.folder / "report.html").mkdir()
    with pytest.raises(ScoreADError, match=r"Is a directory: .*report\.html"):
        results.write(output, image, second, recipe, 2.0)
    np.testing.assert_array_equal(np.load(output.folder / "map.npy"), first)
    (output.folder / "report.html").rmdir()
    results.write(output, image, second, recipe, 2.0)
    np.testing.assert_array_equal(np.load(output.folder / "map.npy"), second)


def test_figures_drawn_beside_are_the_same(tmp_path):
    image, scores = datasets.synthetic(rows=12, cols=10, bands=8), np.random.default_rng(0).random((12, 10))
    recipe = config.load("demo")
    with results.drawn_beside(image) as draw:
        assert draw is not results.draw
        results.write(results.in_folder(tmp_path / "there", None), image, scores, recipe, 1.0, draw=draw)
        results.write(results.in_folder(tmp_path / "here", None), image, scores, recipe, 1.0)
        for name in results.BESIDE:
            assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes(), name
        wrong = draw(results.Pages(tmp_path / "nowhere", image, scores, None, {}, recipe))
    assert "nowhere" in str(wrong)
    with pytest.raises(ScoreADError, match="expected to write there, found: Not a directory"):
        results.write(
            results.in_folder(tmp_path / "out", None), image, scores, recipe, 1.0,
            draw=lambda pages: NotADirectoryError(errno.ENOTDIR, "Not a directory"),
        )  # fmt: skip
    assert not (tmp_path / "out").exists()

    def interrupted(pages):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        results.write(results.in_folder(tmp_path / "out", None), image, scores, recipe, 1.0, draw=interrupted)
    assert not (tmp_path / "out").exists()


def test_figures_of_a_process_that_died_are_drawn_here(tmp_path, monkeypatch):
    image, scores = datasets.synthetic(rows=12, cols=10, bands=8), np.random.default_rng(0).random((12, 10))
    output = results.in_folder(tmp_path / "out", None)
    monkeypatch.setattr(results, "get_ready", os._exit)  # as the process begins
    with results.drawn_beside(image) as draw:
        results.write(output, image, scores, config.load("demo"), 1.0, draw=draw)
    assert {path.name for path in output.folder.iterdir()} == set(results.FILES)


def test_what_is_not_sent_is_drawn_here(monkeypatch):
    image = datasets.synthetic(rows=12, cols=10, bands=8)
    lazily = dataclasses.replace(image, cube=image.cube.view(np.memmap))
    with results.drawn_beside(lazily) as draw:
        assert draw is results.draw
    monkeypatch.setattr(results, "_MOST_SENT", 100)
    with results.drawn_beside(image) as draw:
        assert draw is results.draw


def test_formats_are_chosen_or_one_file_is(tmp_path, monkeypatch):
    assert results.in_folder(tmp_path, None, ["nc", "zarr"]).maps == (tmp_path / "map.nc", tmp_path / "map.zarr")
    monkeypatch.setattr(results, "find_spec", lambda name: None)
    assert results.in_folder(tmp_path, Georeference(None, UPRIGHT)).maps[-1] == tmp_path / "map.nc"
    assert [path.name for path in results.in_folder(tmp_path, None).maps] == ["map.npy", "map.mat"]


def test_one_map_file_on_the_command_line(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("scene.npy", datasets.synthetic(rows=12, cols=10, bands=8).cube)
    quick = ["--fusion.members", "scene_nearest", "--fusion.weights", "1", "--quiet"]
    assert cli.main(["detect", "scene.npy", "-o", "deep/map.nc", *quick]) == 0
    assert os.listdir("deep") == ["map.nc"]
    assert "deep/map.nc" in capsys.readouterr().out
    assert cli.main(["detect", "scene.npy", "-o", "scene.npy", *quick]) == 2
    assert "expected another file than the scene's own" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "rasterio", None)
    assert cli.main(["detect", "scene.npy", "--format", "tif", *quick]) == 2
    assert "pip install 'scoread-jax[geo]'" in capsys.readouterr().err
    assert sorted(os.listdir()) == ["deep", "scene.npy"]
