"""Products of sensors and files of other libraries.

No product can be downloaded for a test, so small files are written here with the real layout: groups, names,
attributes, types, fill values and quirks as the products' own documents and the common importers have them (EMIT
L2A and L1B after emit-utils, PRISMA L2 after the EnMAP-Box importer, PACE OCI L2 SFREFL after NASA's notebooks).
"""

from __future__ import annotations

import re
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest
import scipy.io

from scoread_jax import io, scene
from scoread_jax.errors import SceneError, ScoreADError
from scoread_jax.io.readers import lazy

ROWS, COLS, BANDS = 6, 5, 9
WAVELENGTHS = np.linspace(400, 2400, BANDS)
WGS84 = 'GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],UNIT["degree",0.0174532925199433]]'


def cube_of(dtype="float32", shape=(ROWS, COLS, BANDS)):
    return np.random.default_rng(3).integers(1, 200, shape).astype(dtype)


def refusal(path, **options):
    with pytest.raises(SceneError) as caught:
        io.read_scene(path, **options)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


def dimensions(file, **sizes):
    """Dimensions that NetCDF keeps as empty scales at the root."""
    for name, size in sizes.items():
        file.create_dataset(name, (size,), ">f4").make_scale(
            f"This is a netCDF dimension but not a netCDF variable. {size:10}"
        )


def attach(file, dataset, *names):
    for axis, name in enumerate(names):
        dataset.dims[axis].attach_scale(file[name])
    return dataset


def save_emit(path, cube, name="reflectance", good=None, groups=True):
    """Write an EMIT granule: 3 × 4 cells of an orthorectified grid beside the swath."""
    rows, cols, bands = cube.shape
    with h5py.File(path, "w") as file:
        file.attrs["instrument"], file.attrs["title"] = "EMIT", "EMIT L2A Estimated Surface Reflectance 60 m V001"
        file.attrs["geotransform"], file.attrs["spatial_ref"] = [10.0, 0.5, 0.0, 50.0, 0.0, -0.5], WGS84
        dimensions(file, downtrack=rows, crosstrack=cols, bands=bands, ortho_y=3, ortho_x=4)
        data = file.create_dataset(name, data=cube, chunks=(2, cols, 4), compression="gzip", fillvalue=-9999)
        attach(file, data, "downtrack", "crosstrack", "bands").attrs["_FillValue"] = np.float32([-9999])
        if groups:
            about = file.create_group("sensor_band_parameters")
            listed = {"wavelengths": WAVELENGTHS[:bands], "fwhm": np.full(bands, 8.5)}
            for key, values in listed.items():
                attach(file, about.create_dataset(key, data=values.astype("f4")), "bands").attrs["units"] = "nm"
            if good is not None:
                about.create_dataset("good_wavelengths", data=np.asarray(good, "u1"))
            location = file.create_group("location")
            lat, lon = np.meshgrid(np.linspace(49, 48, rows), np.linspace(10, 12, cols), indexing="ij")
            location["lat"], location["lon"], location["elev"] = lat, lon, np.zeros((rows, cols), "f4")
            location["glt_x"] = np.array([[0, 1, 2, 5], [1, 0, 3, -4], [0, 0, 0, 9]], "i4")
            location["glt_y"] = np.array([[0, 1, 1, 6], [2, 0, 2, -2], [0, 0, 0, 1]], "i4")
    return path


def test_emit(tmp_path):
    cube = cube_of()
    cube[:, :, 5] = -0.01
    cube[1, 2] = -9999
    good = np.ones(BANDS)
    good[5] = 0
    image = io.read_scene(save_emit(tmp_path / "EMIT_L2A_RFL.nc", cube, good=good))
    np.testing.assert_array_equal(image.good_bands, good == 1)
    np.testing.assert_array_equal(~image.valid, (cube == -9999).all(axis=2))
    np.testing.assert_array_equal(image.cube[:][image.valid], cube[image.valid])
    np.testing.assert_allclose(image.wavelengths, WAVELENGTHS)
    place = image.georeference
    assert (place.transform, place.crs) == (None, WGS84)
    assert place.lat.shape == place.lon.shape == (ROWS, COLS)
    assert place.glt_transform == (0.5, 0, 10, 0, -0.5, 50)
    np.testing.assert_array_equal(place.glt[..., 0], [[-1, 0, 0, 5], [1, -1, 1, 1], [-1, -1, -1, -1]])
    np.testing.assert_array_equal(place.glt[..., 1], [[-1, 0, 1, 4], [0, -1, 2, 3], [-1, -1, -1, -1]])
    assert image.metadata["instrument"] == "EMIT"
    assert "EMIT reflectance in sensor geometry" in image.notes
    assert "no data where the file holds -9999 (_FillValue)" in image.notes
    assert "1 bad band left out by the file's own list (counted from 0): 5" in image.notes


def test_emit_radiance_has_no_list_of_good_bands(tmp_path):
    image = io.read_scene(save_emit(tmp_path / "EMIT_L1B_RAD.nc", cube_of(), name="radiance"))
    assert image.good_bands.all()
    np.testing.assert_array_equal(image.cube[2:5], cube_of()[2:5])


def test_emit_maps_go_out_orthorectified(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    image = io.read_scene(save_emit(tmp_path / "emit.nc", cube_of()))
    scores = np.arange(image.valid.size, dtype=np.float32).reshape(image.valid.shape)
    io.write_map(tmp_path / "map.tif", scores, image.georeference)
    with rasterio.open(tmp_path / "map.tif") as found:
        assert found.transform[:6] == image.georeference.glt_transform
        values = found.read(1)
    assert values[0, 1] == scores[0, 0]
    assert values[1, 2] == scores[1, 2]
    assert np.isnan(values[2]).all()


def test_emit_without_its_groups_is_refused(tmp_path):
    message = refusal(save_emit(tmp_path / "emit.nc", cube_of(), groups=False))
    assert "expected an EMIT granule with sensor_band_parameters/wavelengths, location/lat, location/lon" in message


def save_prisma(path, vnir, swir, cw_vnir, cw_swir, level="L2D", **attributes):
    """Write PRISMA cubes (line, band, sample), wavelengths descending, with zeros for dead bands."""
    with h5py.File(path, "w") as file:
        file.attrs.update(
            {
                "List_Cw_Vnir": np.float32(cw_vnir),
                "List_Cw_Swir": np.float32(cw_swir),
                **{"L2ScaleVnirMin": np.float32(0), "L2ScaleVnirMax": np.float32(1)},
                **{"L2ScaleSwirMin": np.float32(-0.5), "L2ScaleSwirMax": np.float32(0.5)},
            }
            | attributes
        )
        swath = file.create_group(f"HDFEOS/SWATHS/PRS_{level}_HCO")
        swath["Data Fields/VNIR_Cube"], swath["Data Fields/SWIR_Cube"] = vnir, swir
        shape = vnir.shape[0], vnir.shape[2]
        swath["Geolocation Fields/Latitude"], swath["Geolocation Fields/Longitude"] = np.full((2, *shape), 45.0)
    return path


def prisma_cubes():
    rng = np.random.default_rng(0)
    vnir, swir = (rng.integers(1, 65535, (ROWS, bands, COLS)).astype("u2") for bands in (4, 5))
    vnir[2, :, 3], swir[2, :, 3] = 0, 0  # outside of the swath
    vnir[0, 1, 0] = 0  # dark in one band
    return vnir, swir, [0, 1000, 700, 400], [2400, 1500, 1010, 950, 0]


def test_prisma(tmp_path):
    vnir, swir, cw_vnir, cw_swir = prisma_cubes()
    corner = {"Epsg_Code": 32632, "Product_ULcorner_easting": 500015.0, "Product_ULcorner_northing": 4999985.0}
    image = io.read_scene(save_prisma(tmp_path / "PRS_L2D_STD.he5", vnir, swir, cw_vnir, cw_swir, **corner))
    np.testing.assert_array_equal(image.wavelengths, [400, 700, 950, 1000, 1010, 1500, 2400])
    np.testing.assert_array_equal(image.good_bands, [True, True, True, False, True, True, True])
    np.testing.assert_array_equal(np.argwhere(~image.valid), [[2, 3]])
    expected = [
        *(vnir[:, band] / 65535 for band in (3, 2)),
        *(swir[:, 3] / 65535 - 0.5, vnir[:, 1] / 65535),
        *(swir[:, band] / 65535 - 0.5 for band in (2, 1, 0)),
    ]
    cube = image.cube[:]
    np.testing.assert_allclose(cube[image.valid], np.stack(expected, axis=2)[image.valid], atol=1e-6)
    np.testing.assert_array_equal(image.cube[3:5], cube[3:5])
    assert image.georeference.transform == (30, 0, 500000, 0, -30, 5000000)
    assert "UTM zone 32N" in image.georeference.crs
    assert any("3 VNIR and 4 SWIR bands by wavelength, 2 dead ones left out, 1 VNIR ones bad" in n for n in image.notes)


def test_prisma_in_sensor_geometry(tmp_path):
    image = io.read_scene(save_prisma(tmp_path / "PRS_L2C_STD.he5", *prisma_cubes(), level="L2C"))
    assert image.georeference.transform is None
    assert image.georeference.lat.shape == (ROWS, COLS)


def test_prisma_that_lacks_a_cube_or_fits_not_its_list_is_refused(tmp_path):
    path = save_prisma(tmp_path / "prisma.he5", *prisma_cubes())
    with h5py.File(path, "r+") as file:
        del file["HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields/SWIR_Cube"], file.attrs["List_Cw_Vnir"]
    assert "found no List_Cw_Vnir, SWIR_Cube" in refusal(path)
    vnir, swir, cw_vnir, cw_swir = prisma_cubes()
    path = save_prisma(tmp_path / "other.he5", vnir, swir, cw_vnir[1:], cw_swir)
    assert "expected VNIR_Cube (line, band, sample) of 3 bands, found 6 × 4 × 5" in refusal(path)


def save_pace(path, cube):
    """Write a PACE OCI swath: int16 with a scale and an offset, fill −32767."""
    with h5py.File(path, "w") as file:
        dimensions(file, number_of_lines=cube.shape[0], pixels_per_line=cube.shape[1], wavelength_3d=cube.shape[2])
        rhos = file.create_dataset("geophysical_data/rhos", data=cube)
        rhos.attrs.update(
            {"scale_factor": np.float32(2e-5), "add_offset": np.float32(0.5), "_FillValue": np.int16(-32767)}
        )
        attach(file, rhos, "number_of_lines", "pixels_per_line", "wavelength_3d")
        file["geophysical_data/l2_flags"] = np.zeros(cube.shape[:2], "i4")
        file["sensor_band_parameters/wavelength_3d"] = WAVELENGTHS[: cube.shape[2]].astype("f4")
        for name in ("latitude", "longitude"):
            file[f"navigation_data/{name}"] = np.zeros(cube.shape[:2], "f4")
    return path


def test_pace(tmp_path):
    cube = cube_of("int16")
    cube[4, 4] = -32767
    image = io.read_scene(save_pace(tmp_path / "PACE_OCI.L2.SFREFL.nc", cube))
    np.testing.assert_array_equal(np.argwhere(~image.valid), [[4, 4]])
    np.testing.assert_allclose(image.cube[:][image.valid], cube[image.valid] * 2e-5 + 0.5, rtol=1e-6)
    np.testing.assert_allclose(image.wavelengths, WAVELENGTHS)
    assert image.georeference.lat.shape == (ROWS, COLS)
    with h5py.File(tmp_path / "PACE_OCI.L2.SFREFL.nc", "r+") as file:
        del file["navigation_data/latitude"]
    assert "expected a PACE granule" in refusal(tmp_path / "PACE_OCI.L2.SFREFL.nc")


@pytest.mark.parametrize(
    "names", [("y", "x", "wavelength"), ("wavelength", "y", "x"), ("band", "lat", "lon"), ("x", "y", "bands")]
)
def test_netcdf_by_the_conventions(tmp_path, names):
    cube = cube_of("int16")
    places = {"y": 0, "lat": 0, "x": 1, "lon": 1}
    axes = [places.get(name, 2) for name in names]
    with h5py.File(tmp_path / "scene.nc", "w") as file:
        for name, axis in zip(names, axes, strict=True):
            values = [100 - 30.0 * np.arange(ROWS), 7 + 30.0 * np.arange(COLS), WAVELENGTHS / 1000][axis]
            file.create_dataset(name, data=values).make_scale(name)
            file[name].attrs["units"] = "um" if axis == 2 else "m"
        data = file.create_dataset("anything", data=cube.transpose(axes))
        attach(file, data, *names).attrs["grid_mapping"] = "spatial_ref"
        data.attrs["scale_factor"] = 0.5
        file.create_dataset("spatial_ref", data=0).attrs["crs_wkt"] = WGS84
        file.attrs["history"] = "made"
    image = io.read_scene(tmp_path / "scene.nc")
    np.testing.assert_allclose(image.cube[:], cube * 0.5)
    assert image.georeference.transform == (30, 0, -8, 0, -30, 115)
    assert image.georeference.crs == WGS84
    assert image.metadata == {"history": "made"}
    if "wavelength" in names:
        np.testing.assert_allclose(image.wavelengths, WAVELENGTHS)


def test_netcdf_of_nameless_axes_is_a_guess_that_is_said(tmp_path):
    with h5py.File(tmp_path / "scene.h5", "w") as file:
        file["data"] = cube_of()
    image = io.read_scene(tmp_path / "scene.h5")
    np.testing.assert_array_equal(image.cube[:], cube_of())
    assert "guessed: the axes of the cube are rows, cols and bands in this order" in image.notes


def test_hdf5_that_is_damaged_or_none_is_refused(tmp_path):
    path = save_emit(tmp_path / "emit.nc", cube_of(shape=(60, 50, 9)))
    whole = path.read_bytes()
    for share in (0.1, 0.5, 0.99):
        path.write_bytes(whole[: int(len(whole) * share)])
        assert "truncated" in refusal(path)
    path.write_bytes(b"CDF\x01" + bytes(100))
    assert "NetCDF-3, which nccopy -k nc4 converts" in refusal(path)
    path.write_bytes(bytes(100))
    assert "found another kind of file" in refusal(path)
    with h5py.File(path, "w") as file:
        file.create_group("empty")
    assert "found no 3-D array" in refusal(path)


def save_tiff(path, cube, **options):
    rasterio = pytest.importorskip("rasterio")
    descriptions, tags = options.pop("descriptions", ()), options.pop("tags", ())
    rows, cols, bands = cube.shape
    options = {"transform": rasterio.Affine(30, 5, 100, -5, -30, 200), "crs": "EPSG:32611"} | options
    with rasterio.open(
        path, "w", driver="GTiff", height=rows, width=cols, count=bands, dtype=cube.dtype, **options
    ) as file:
        file.write(np.moveaxis(cube, 2, 0))
        for band, text in enumerate(descriptions, start=1):
            file.set_band_description(band, text)
        for band, each in enumerate(tags, start=1):
            file.update_tags(band, **each)
        file.update_tags(sensor="made")
    return path


@pytest.mark.parametrize("words", ["{} nm", "Band at {} Nanometers", "tags", "micrometers"])
def test_geotiff(tmp_path, words):
    cube = cube_of("int16")
    cube[0, 1] = -9999
    if words == "tags":
        named = {"tags": [{"wavelength": str(w), "wavelength_units": "Nanometers"} for w in WAVELENGTHS]}
    elif words == "micrometers":
        named = {"tags": [{"WAVELENGTH": str(w / 1000), "wavelength_units": "Micrometers"} for w in WAVELENGTHS]}
    else:
        named = {"descriptions": [words.format(w) for w in WAVELENGTHS]}
    image = io.read_scene(save_tiff(tmp_path / "scene.tif", cube, nodata=-9999, **named))
    np.testing.assert_array_equal(np.argwhere(~image.valid), [[0, 1]])
    np.testing.assert_array_equal(image.cube[:][image.valid], cube[image.valid])
    np.testing.assert_allclose(image.wavelengths, WAVELENGTHS)
    assert image.georeference.transform == (30, 5, 100, -5, -30, 200)
    assert "UTM zone 11N" in image.georeference.crs
    assert image.metadata["sensor"] == "made"


def test_geotiff_in_tiles_with_a_mask_and_without_a_place(tmp_path):
    cube = cube_of("uint16", (40, 33, 5))
    path = save_tiff(tmp_path / "scene.tif", cube, tiled=True, blockxsize=16, blockysize=16, transform=None, crs=None)
    image = io.read_scene(path)
    assert image.georeference is None
    assert image.cube.tile_rows == 16
    for rows in (slice(0, 40), slice(15, 17), slice(39, 40)):
        np.testing.assert_array_equal(image.cube[rows], cube[rows])
    rasterio = pytest.importorskip("rasterio")
    with rasterio.open(path, "r+") as file:
        file.write_mask(np.arange(40)[:, None].repeat(33, 1) > 3)
    np.testing.assert_array_equal(io.read_scene(path).valid, np.arange(40)[:, None].repeat(33, 1) > 3)


def test_whatever_gdal_opens_is_read(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    with rasterio.open(
        tmp_path / "scene.img", "w", driver="HFA", height=ROWS, width=COLS, count=BANDS, dtype="uint16"
    ) as file:
        file.write(np.moveaxis(cube_of("uint16"), 2, 0))
    np.testing.assert_array_equal(io.read_scene(tmp_path / "scene.img").cube[:], cube_of("uint16"))


def test_what_is_no_image_is_refused(tmp_path):
    pytest.importorskip("rasterio")
    (tmp_path / "scene.tif").write_bytes(b"II*\0")
    assert "cannot be read" in refusal(tmp_path / "scene.tif")
    path = save_tiff(tmp_path / "waves.tif", cube_of().astype(np.complex64))
    assert "expected bands of real numbers, found numbers of type complex64" in refusal(path)


def test_maps_written_here_are_read_again(tmp_path):
    pytest.importorskip("rasterio")
    pytest.importorskip("zarr")
    scores = np.linspace(0, 1, ROWS * COLS, dtype=np.float32).reshape(ROWS, COLS)
    scores[1, 2] = np.nan
    place = io.read_scene(save_tiff(tmp_path / "scene.tif", cube_of(), transform=None)).georeference
    for suffix in (".tif", ".img", ".nc", ".zarr", ".mat", ".npy", ".npz"):
        io.write_map(tmp_path / f"map{suffix}", scores, place)
        np.testing.assert_array_equal(io.read_map(tmp_path / f"map{suffix}"), scores)


def save_zarr(path, cube, zarr_format, names):
    zarr = pytest.importorskip("zarr")
    group = zarr.create_group(path, zarr_format=zarr_format, attributes={"made": "here"})

    def named(names):
        if zarr_format == 3:
            return {"dimension_names": names}
        return {"attributes": {"_ARRAY_DIMENSIONS": list(names)}}

    group.create_array("rfl", data=cube, chunks=(2, 5, 3), **named(names))
    group.create_array("wavelengths", data=WAVELENGTHS, **named(names[-1:]))
    return path


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_zarr(tmp_path, zarr_format):
    cube = cube_of()
    image = io.read_scene(save_zarr(tmp_path / "scene.zarr", cube, zarr_format, ("y", "x", "wavelengths")))
    np.testing.assert_array_equal(image.cube[:], cube)
    np.testing.assert_array_equal(image.cube[3:4], cube[3:4])
    np.testing.assert_allclose(image.wavelengths, WAVELENGTHS)
    assert image.metadata == {"made": "here"}
    assert image.cube.tile_rows == 2
    zarr = pytest.importorskip("zarr")
    zarr.create_array(tmp_path / "bare", data=cube, zarr_format=zarr_format)
    np.testing.assert_array_equal(io.read_scene(tmp_path / "bare").cube[:], cube)
    huge = zarr.create_array(tmp_path / "huge", shape=(40, 50, 60), chunks=(1, 2, 3), dtype="u1")
    huge[0, 0, 0] = 1
    assert "expected as many chunks as array claims, 20000, found 2 files" in refusal(tmp_path / "huge")
    (tmp_path / "no.zarr").mkdir()
    assert "expected a Zarr store, found a folder without" in refusal(tmp_path / "no.zarr")


def test_xarray_stores_are_read(tmp_path):
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("zarr")
    cube = cube_of()
    cube[2, 2] = np.nan
    data = xarray.DataArray(cube.transpose(2, 0, 1), dims=("band", "y", "x"), name="rfl")
    for zarr_format in (2, 3):
        path = tmp_path / f"scene{zarr_format}.zarr"
        data.to_dataset().to_zarr(path, zarr_format=zarr_format, encoding={"rfl": {"_FillValue": -9999.0}})
        image = io.read_scene(path)
        np.testing.assert_array_equal(image.cube[:], cube)


def save_envi(folder, interleave, cube):
    axes = {"bsq": (2, 0, 1), "bil": (0, 2, 1), "bip": (0, 1, 2)}[interleave]
    path = folder / f"{interleave}.hdr"
    (folder / f"{interleave}.img").write_bytes(np.ascontiguousarray(cube.transpose(axes)).tobytes())
    listed = ", ".join(map(str, WAVELENGTHS))
    path.write_text(
        f"ENVI\nlines={ROWS}\nsamples={COLS}\nbands={BANDS}\ndata type=4\ninterleave={interleave}\n"
        f"data ignore value=-9999\nwavelength={{{listed}}}\nwavelength units=nm\n"
    )
    return path


def test_the_same_cube_is_the_same_scene_in_every_format(tmp_path):
    pytest.importorskip("rasterio")
    pytest.importorskip("zarr")
    cube = cube_of()
    cube[:, :, 4] = 7
    cube[1, 1], cube[3] = -9999, 0
    files = [save_envi(tmp_path, interleave, cube) for interleave in ("bsq", "bil", "bip")]
    scipy.io.savemat(tmp_path / "scene.mat", {"data": cube})
    np.save(tmp_path / "scene.npy", cube)
    np.save(tmp_path / "columns.npy", np.asfortranarray(cube))
    np.savez_compressed(tmp_path / "scene.npz", data=cube)
    files += [tmp_path / name for name in ("scene.mat", "scene.npy", "columns.npy", "scene.npz")]
    files += [save_tiff(tmp_path / "scene.tif", cube, nodata=-9999), save_emit(tmp_path / "scene.nc", cube)]
    files += [save_zarr(tmp_path / f"v{v}.zarr", cube, v, ("y", "x", "wavelengths")) for v in (2, 3)]
    first, *others = (io.read_scene(path) for path in files)
    scaling = scene.global_min_max(first)
    assert first.pixels == (ROWS - 1) * COLS - 1
    assert first.bands == BANDS - 1
    for image in others:
        np.testing.assert_array_equal(image.valid, first.valid)
        np.testing.assert_array_equal(image.good_bands, first.good_bands)
        assert scene.global_min_max(image) == scaling
        np.testing.assert_array_equal(scene.spectra(image, scaling), scene.spectra(first, scaling))


def test_a_file_that_is_removed_while_it_is_read_is_missed(tmp_path):
    pytest.importorskip("rasterio")
    pytest.importorskip("zarr")
    cube = cube_of()
    np.save(tmp_path / "scene.npy", cube)
    for path in (
        tmp_path / "scene.npy",
        save_tiff(tmp_path / "scene.tif", cube),
        save_emit(tmp_path / "scene.nc", cube),
        save_zarr(tmp_path / "scene.zarr", cube, 2, ("y", "x", "wavelengths")),
        save_zarr(tmp_path / "other.zarr", cube, 3, ("y", "x", "wavelengths")),
    ):
        lazily = io.read_scene(path).cube
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        with pytest.raises(SceneError, match=re.escape(str(path))):
            lazily[2:4]


def test_blocks_are_read_by_many_threads_at_once(tmp_path):
    pytest.importorskip("rasterio")
    pytest.importorskip("zarr")
    cube = cube_of("float32", (48, 40, 9))
    np.save(tmp_path / "scene.npy", cube)
    files = [
        tmp_path / "scene.npy",
        save_emit(tmp_path / "scene.nc", cube),
        save_tiff(tmp_path / "scene.tif", cube, compress="deflate", tiled=True, blockxsize=16, blockysize=16),
        save_zarr(tmp_path / "scene.zarr", cube, 3, ("y", "x", "wavelengths")),
    ]
    places = [slice(start, start + 5) for start in np.random.default_rng(0).integers(0, 48, 60)]
    with ThreadPoolExecutor(8) as pool:
        for path in files:
            lazily = io.read_scene(path).cube
            for place, block in zip(places, pool.map(lazily.__getitem__, places), strict=True):
                np.testing.assert_array_equal(block, cube[place])


@pytest.mark.parametrize("format_", ["envi", "nc", "tif", "he5"])
def test_turned_bits_are_refused_or_mean_nothing(tmp_path, format_):
    cube = cube_of()
    if format_ == "envi":
        path = damaged = save_envi(tmp_path, "bil", cube)
    elif format_ == "nc":
        path = damaged = save_emit(tmp_path / "scene.nc", cube)
    elif format_ == "he5":
        path = damaged = save_prisma(tmp_path / "scene.he5", *prisma_cubes())
    else:
        path = damaged = save_tiff(tmp_path / "scene.tif", cube, compress="deflate", tiled=True, nodata=-1)
    whole, rng = damaged.read_bytes(), np.random.default_rng(1)
    refusals = []
    for place in rng.integers(0, min(len(whole), 3000), 60):
        copy = bytearray(whole)
        copy[place] ^= 1 << int(rng.integers(8))
        damaged.write_bytes(bytes(copy))
        try:
            image = io.read_scene(path)
            scene.spectra(image, scene.global_min_max(image))
        except SceneError as error:
            refusals.append(str(error))
    assert refusals
    assert not any("\n" in message for message in refusals)


def test_claims_beyond_what_a_file_can_hold_are_refused(tmp_path):
    with h5py.File(tmp_path / "scene.nc", "w") as file:
        file.create_dataset("data", (10**6, 10**6, 2), "u2", chunks=(100, 100, 1))
    assert "expected as much data as the file claims, 1000000 × 1000000 × 2" in refusal(tmp_path / "scene.nc")
    bomb = np.zeros((1, 1, 300 * 2**20), np.uint8)
    np.savez_compressed(tmp_path / "bomb.npz", data=bomb)
    assert "expected as much data as the file claims" in refusal(tmp_path / "bomb.npz")
    scipy.io.savemat(tmp_path / "bomb.mat", {"data": bomb}, do_compression=True)
    assert "expected as much data as the file claims" in refusal(tmp_path / "bomb.mat")
    zarr = pytest.importorskip("zarr")
    zarr.create_array(tmp_path / "scene.zarr", shape=(10**6, 10**6, 2), chunks=(10**5, 10**5, 1), dtype="u2")
    assert "expected as much data as the file claims" in refusal(tmp_path / "scene.zarr")
    rasterio = pytest.importorskip("rasterio")
    options = {"driver": "GTiff", "height": 10**5, "width": 10**5, "count": 2, "dtype": "uint8", "SPARSE_OK": True}
    rasterio.open(tmp_path / "scene.tif", "w", tiled=True, **options).close()
    assert "expected as much data as the file claims" in refusal(tmp_path / "scene.tif")


def test_planes_keep_their_type_unless_they_are_scaled(tmp_path):
    whole = np.array([[1, 255], [0, 3]], np.uint8)
    found = lazy.plane(tmp_path, whole, nodata=255)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, [[1, 0], [0, 3]])
    np.testing.assert_array_equal(lazy.plane(tmp_path, whole, scale=2.0, nodata=255), [[2, np.nan], [0, 6]])
    np.testing.assert_array_equal(lazy.plane(tmp_path, whole.astype("f4"), nodata=255), [[1, np.nan], [0, 3]])


def test_extras_that_are_missing_are_named(tmp_path, monkeypatch):
    (tmp_path / "scene.tif").write_bytes(b"II*\0")
    (tmp_path / "scene.zarr").mkdir()
    for module in ("rasterio", "zarr"):
        monkeypatch.setitem(sys.modules, module, None)
    for name, extra in (("scene.tif", "geo"), ("scene.zarr", "zarr")):
        with pytest.raises(ValueError, match=rf"scoread-jax\[{extra}\]"):
            io.read_scene(tmp_path / name)


def test_a_missing_library_is_told_with_the_file(tmp_path, monkeypatch):
    path = tmp_path / "scene.tif"
    path.write_bytes(b"II*\0")
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(ScoreADError, match=r"scene.tif: expected rasterio, .* pip install 'scoread-jax\[geo\]'"):
        io.read_scene(path)
