"""ENVI files, written here byte by byte as the format's description has them, and read by others for comparison."""

from __future__ import annotations

import numpy as np
import pytest

from scoread_jax import io, scene
from scoread_jax.errors import SceneError

CODES = {"u1": 1, "i2": 2, "i4": 3, "f4": 4, "f8": 5, "u2": 12, "u4": 13, "i8": 14, "u8": 15}
AXES = {"bsq": (2, 0, 1), "bil": (0, 2, 1), "bip": (0, 1, 2)}
ROWS, COLS, BANDS = 5, 4, 6
UTM = "{UTM, 1.5, 2, 500000, 3800000, 30, 30, 11, North, WGS-84, units=Meters}"


def cube_of(dtype="i2"):
    return np.random.default_rng(0).integers(1, 100, (ROWS, COLS, BANDS)).astype(dtype)


def header(cube, interleave="bsq", **extra):
    fields = {
        "description": "{Made here,\n  on two lines}",
        "samples": cube.shape[1],
        "lines": cube.shape[0],
        "bands": cube.shape[2],
        "header offset": 0,
        "file type": "ENVI Standard",
        "data type": CODES[cube.dtype.str[1:]],
        "interleave": interleave,
        "byte order": int(cube.dtype.byteorder == ">"),
    } | {key.replace("_", " "): value for key, value in extra.items()}
    return "ENVI\n" + "".join(f"{key} = {value}\n" for key, value in fields.items() if value is not None)


def save(
    folder, cube=None, interleave="bsq", data="scene.img", head="scene.hdr", before=b"", encoding="utf-8", **extra
):
    cube = cube_of() if cube is None else cube
    (folder / data).write_bytes(before + np.ascontiguousarray(cube.transpose(AXES[interleave])).tobytes())
    (folder / head).write_text(header(cube, interleave, **extra))
    return folder / head


def refusal(path):
    with pytest.raises(SceneError) as caught:
        io.read_scene(path)
    message = str(caught.value)
    assert message.startswith(str(path.parent))
    assert "\n" not in message
    return message


@pytest.mark.parametrize("interleave", AXES)
@pytest.mark.parametrize("dtype", ["u1", "<i2", ">i2", "<u2", ">i4", "<u4", "<i8", "<u8", "<f4", ">f4", ">f8"])
def test_cubes_come_back_whatever_their_layout(tmp_path, interleave, dtype):
    cube = cube_of(dtype)
    image = io.read_scene(save(tmp_path, cube, interleave, before=b"x" * 7, header_offset=7))
    assert image.cube.dtype == cube.dtype.newbyteorder("=")
    np.testing.assert_array_equal(image.cube[:], cube)
    np.testing.assert_array_equal(image.cube[2:4], cube[2:4])
    assert image.valid.all()
    assert image.metadata == {"description": "Made here, on two lines"}
    assert image.source == str(tmp_path / "scene.hdr")


@pytest.mark.parametrize(
    ("data", "head"),
    [
        ("scene", "scene.hdr"),
        ("scene.img", "scene.img.hdr"),
        ("scene.dat", "scene.hdr"),
        ("flight.2_rfl", "flight.2_rfl.hdr"),
        ("SCENE.BSQ", "scene.HDR"),
        ("scene.raw", "SCENE.hdr"),
    ],
)
def test_either_file_of_the_pair_may_be_named(tmp_path, data, head):
    save(tmp_path, data=data, head=head)
    for name in (data, head):
        np.testing.assert_array_equal(io.read_scene(tmp_path / name).cube[:], cube_of())


def test_a_missing_partner_is_named(tmp_path):
    path = save(tmp_path)
    (tmp_path / "scene.img").rename(tmp_path / "other.img")
    assert "expected the data of this header beside it, found neither scene nor that with .img" in refusal(path)
    assert "found neither other.img.hdr nor other.hdr" in refusal(tmp_path / "other.img")


def test_nodata_scale_and_bad_bands(tmp_path):
    cube = cube_of("i2")
    cube[1, 2], cube[:, :, 3], cube[0, 0, 4] = -9999, -9999, -9999
    path = save(
        tmp_path,
        cube,
        data_ignore_value=-9999,
        reflectance_scale_factor=10000,
        bbl="{1, 1, 0,\n 1, 1, 1}",
        wavelength="{400, 500, 600, 700, 800, 900.5}",
        wavelength_units="Nanometers",
    )
    image = io.read_scene(path)
    assert image.cube.dtype == np.float32
    np.testing.assert_array_equal(image.good_bands, [True, True, False, False, True, True])
    assert (~image.valid).sum() == 2
    assert not image.valid[1, 2]
    assert not image.valid[0, 0]
    np.testing.assert_allclose(image.cube[:][image.valid][:, :3], cube[image.valid][:, :3] / 10000, rtol=1e-6)
    np.testing.assert_array_equal(image.wavelengths, [400, 500, 600, 700, 800, 900.5])
    for note in (
        "no data where the file holds -9999 (data ignore value)",
        "values divided by 10000 (reflectance scale factor)",
        "1 bad band left out by the file's own list (counted from 0): 2",
        "1 empty band left out (counted from 0): 3",
        "good bands: bbl (6 bool)",
    ):
        assert note in image.notes
    # What the masked pixels hold sets no scale.
    assert scene.global_min_max(image).offset == pytest.approx(cube[cube > 0].min() / 10000, rel=1e-6)


def test_gains_and_offsets_of_each_band(tmp_path):
    gains, offsets = np.linspace(0.1, 0.6, BANDS), np.linspace(-1, 1, BANDS)
    listed = {name: "{" + ",".join(map(str, values)) + "}" for name, values in (("g", gains), ("o", offsets))}
    path = save(tmp_path, data_gain_values=listed["g"], data_offset_values=listed["o"])
    np.testing.assert_allclose(io.read_scene(path).cube[:], cube_of() * gains + offsets, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("unit", "factor", "guess"),
    [
        ("Nanometers", 1, None),
        ("nm", 1, None),
        ("Micrometers", 1000, None),
        ("µm", 1000, None),
        ("\u03bcm", 1000, None),
        ("um", 1000, None),
        ("Unknown", 1, "guessed: wavelengths are in nm, for no unit is given and they reach above 100"),
        (None, 1000, "guessed: wavelengths are in µm, for no unit is given and all are below 100"),
        (
            "nm",
            1000,
            "guessed: wavelengths are in µm, for all are below 100, though the file says 'nm'",
        ),
    ],
)
def test_wavelengths_become_nanometres(tmp_path, unit, factor, guess):
    nm = np.array([400, 600.5, 1000, 1500, 2000, 2500])
    path = save(tmp_path, wavelength="{" + ", ".join(map(str, nm / factor)) + "}", wavelength_units=unit)
    image = io.read_scene(path)
    np.testing.assert_allclose(image.wavelengths, nm)
    assert [note for note in image.notes if note.startswith("guessed")] == ([guess] if guess else [])


def test_a_unit_that_is_no_length_leaves_the_wavelengths_out(tmp_path):
    image = io.read_scene(save(tmp_path, wavelength="{1,2,3,4,5,6}", wavelength_units="Index"))
    assert image.wavelengths is None
    assert "wavelengths left out: expected them in nm or µm, found the unit 'Index'" in image.notes


def test_headers_in_latin_1_with_comments_and_empty_fields(tmp_path):
    cube = cube_of()
    text = header(cube, sensor_type="Caméra µ", fwhm="", my_key="kept = as it is")
    text = text.replace("ENVI\n", "ENVI\r\n; a comment = {\r\n\r\n").replace("interleave", "Interleave  ")
    (tmp_path / "scene.hdr").write_bytes(text.encode("latin-1"))
    (tmp_path / "scene.img").write_bytes(np.ascontiguousarray(cube.transpose(2, 0, 1)).tobytes())
    image = io.read_scene(tmp_path / "scene.hdr")
    np.testing.assert_array_equal(image.cube[:], cube)
    assert image.metadata["sensor type"] == "Caméra µ"
    assert image.metadata["my key"] == "kept = as it is"
    assert "fwhm" not in image.metadata


def test_one_band_is_a_map(tmp_path):
    plane = np.arange(20, dtype="<f4").reshape(5, 4, 1)
    np.testing.assert_array_equal(io.read_map(save(tmp_path, plane)), plane[:, :, 0])
    assert "found a 2-D array" in refusal(tmp_path / "scene.hdr")


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"interleave": "bsp"}, "expected an interleave of bsq, bil, bip, found 'bsp'"),
        ({"data_type": 6}, "expected a data type of 1, 2, 3, 4, 5, 12, 13, 14, 15, found 6; complex"),
        ({"data_type": "float"}, "expected a whole number from 0 up for 'data type', found 'float'"),
        ({"byte_order": 2}, "byte order of 0 (little-endian) or 1 (big-endian), found 2"),
        ({"lines": 0}, "expected a whole number from 1 up for 'lines', found '0'"),
        ({"samples": None}, "expected a line for 'samples', found none"),
        (
            {"bands": 7},
            "expected 280 bytes (5 lines × 4 samples × 7 bands of 2 bytes after 0, by scene.hdr)",
        ),
        ({"header_offset": 8}, "expected 248 bytes"),
        ({"lines": 10**12}, "expected 48000000000000 bytes"),
        ({"wavelength": "{1, 2, 3}"}, "expected 6 values of 'wavelength', one a band, found 3"),
        ({"wavelength": "{1, 2, 3, 4, 5, x}"}, "expected a number for 'wavelength', found 'x'"),
        ({"bbl": "{1, 1, 1, 0, 0}"}, "expected 6 values of 'bbl', one a band, found 5"),
        ({"bbl": "{1, 1, 1, 0, 0, 2}"}, "expected bbl of 1 (good) and 0 (bad), found 2"),
        ({"bbl": "{1, 1, 1, 0, 0, 0.5}"}, "found 0.5"),
        ({"bbl": "{1, 0, 0, 0, 0, 0}"}, "expected at least 2 bands, found 1 left of 6"),
        ({"bbl": "{1, 1, 1"}, "expected } after the list of 'bbl', found the end of the file"),
        ({"data_ignore_value": "none"}, "expected a number for 'data ignore value', found 'none'"),
        ({"reflectance_scale_factor": 0}, "reflectance scale factor that is not 0"),
        ({"map_info": "{UTM, 1, 1}"}, "expected map info of a projection and 6 numbers, found UTM, 1, 1"),
    ],
)
def test_headers_that_are_wrong_are_refused(tmp_path, extra, words):
    cube = cube_of()
    save(tmp_path)
    (tmp_path / "scene.hdr").write_text(header(cube, **extra))
    assert words in refusal(tmp_path / "scene.hdr")


def test_a_header_of_something_else_is_refused(tmp_path):
    save(tmp_path)
    (tmp_path / "scene.hdr").write_text("NROWS 5\nNCOLS 4\n")
    assert "expected an ENVI header, whose first line is ENVI, found 'NROWS 5" in refusal(tmp_path / "scene.hdr")


def test_data_cut_short_after_opening_is_one_sentence(tmp_path):
    image = io.read_scene(save(tmp_path))
    (tmp_path / "scene.img").write_bytes(b"")
    with pytest.raises(SceneError, match=r"scene\.img: expected to read rows 0 to 4"):
        image.cube[:]


def test_georeference_without_words_for_it(tmp_path):
    assert io.read_scene(save(tmp_path)).georeference is None
    image = io.read_scene(save(tmp_path, map_info="{Arbitrary, 1, 1, 100, 200, 2, 3}"))
    assert image.georeference.crs is None
    assert image.georeference.transform == (2, 0, 100, 0, -3, 200)
    assert any("map info of Arbitrary is not known" in note for note in image.notes)


@pytest.mark.parametrize(
    ("map_info", "epsg"),
    [
        (UTM, 32611),
        (UTM.replace("North", "South"), 32711),
        (UTM.replace("UTM", "Geographic Lat/Lon").replace("11, North, ", ""), 4326),
        (UTM.replace("1.5, 2", "1, 1").replace("}", ", rotation=30}"), 32611),
        (UTM.replace("1.5, 2", "1, 1").replace("}", ", rotation=-12.5}"), 32611),
    ],
)
def test_places_are_those_that_gdal_reads(tmp_path, map_info, epsg):
    rasterio = pytest.importorskip("rasterio")
    path = save(tmp_path, map_info=map_info)
    found = io.read_scene(path).georeference
    with rasterio.open(tmp_path / "scene.img") as dataset:
        np.testing.assert_allclose(found.transform, dataset.transform[:6], atol=1e-6)
        assert dataset.crs.to_epsg() in (epsg, None)
    assert rasterio.crs.CRS.from_wkt(found.crs).to_epsg() == epsg


def test_a_coordinate_system_string_is_kept(tmp_path):
    crs = 'GEOGCS["GCS_WGS_1984",DATUM["D_WGS_1984",SPHEROID["WGS_1984",6378137.0,298.257223563]]]'
    image = io.read_scene(save(tmp_path, map_info=UTM, coordinate_system_string="{" + crs + "}"))
    assert image.georeference.crs == crs


@pytest.mark.parametrize("interleave", AXES)
def test_spectral_python_reads_the_same(tmp_path, interleave):
    envi = pytest.importorskip("spectral.io.envi")
    path = save(tmp_path, interleave=interleave, reflectance_scale_factor=100)
    theirs = np.asarray(envi.open(str(path), str(tmp_path / "scene.img")).load())
    np.testing.assert_allclose(io.read_scene(path).cube[:], theirs, rtol=1e-6)
