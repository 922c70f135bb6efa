"""A DataArray in, a DataArray out: whatever the order of its dimensions, with its coordinates."""

from __future__ import annotations

import numpy as np
import pytest

from scoread_jax import anomaly_map, config, datasets, pipeline
from scoread_jax.errors import SceneError

xarray = pytest.importorskip("xarray")

NEAREST = {"fusion.members": ("scene_nearest",), "fusion.weights": (1.0,), "train.drop": 0.0}
RECIPE = config.replace(
    config.load("default"), NEAREST | {"fusion.largest_object": 0, "fusion.surroundings": 0.0, "fusion.lend": 0.0}
)


@pytest.fixture(scope="module")
def image():
    return datasets.synthetic(rows=12, cols=10, bands=8)


@pytest.fixture(scope="module")
def cube(image):
    return xarray.DataArray(
        image.cube.astype(np.float32),
        dims=("y", "x", "band"),
        coords={
            "y": np.linspace(50, 49, 12),
            "x": np.linspace(8, 9, 10),
            "wavelength": ("band", image.wavelengths / 1000, {"units": "µm"}),
            "time": np.datetime64("2024-06-01", "ns"),
            "spatial_ref": ((), 0, {"crs_wkt": "EPSG:4326"}),
        },
        name="reflectance",
        attrs={"grid_mapping": "spatial_ref", "units": "1", "long_name": "reflectance"},
    )


def test_coordinates_are_kept_and_values_are_those_of_the_array(image, cube):
    expected = anomaly_map(image.cube, RECIPE)
    np.testing.assert_array_equal(expected, pipeline.detect(image, RECIPE)[1])
    for order in (("y", "x", "band"), ("band", "y", "x")):
        found = anomaly_map(cube.transpose(*order), RECIPE)
        assert found.dims == ("y", "x")
        assert found.dtype == np.float32
        assert found.name == "anomaly_score"
        assert set(found.coords) == {"y", "x", "time", "spatial_ref"}
        assert found.attrs["grid_mapping"] == "spatial_ref"
        assert "units" not in found.attrs
        xarray.testing.assert_equal(found.spatial_ref, cube.spatial_ref)
        np.testing.assert_array_equal(found.x, cube.x)
        np.testing.assert_allclose(found.values, expected, rtol=1e-4, atol=1e-4)


def test_what_is_not_finite_is_masked(cube):
    holed = cube.copy()
    holed[2, 3] = np.nan
    mask = np.ones((12, 10), bool)
    mask[0] = False
    found = anomaly_map(holed, RECIPE, mask=mask)
    missing = ~mask
    missing[2, 3] = True
    np.testing.assert_array_equal(np.isnan(found.values), missing)


def test_the_dimension_of_bands_is_found_or_asked_for(cube):
    bare = cube.drop_vars(["wavelength", "spatial_ref"])
    odd = bare.rename(band="depth")
    assert anomaly_map(odd, RECIPE).dims == ("y", "x")
    unclear = bare.rename(band="a", y="b", x="c")
    with pytest.raises(SceneError, match="say which with band_dim"):
        anomaly_map(unclear, RECIPE)
    assert anomaly_map(unclear, RECIPE, band_dim="a").dims == ("b", "c")
    with pytest.raises(SceneError, match="found 'd'"):
        anomaly_map(unclear, RECIPE, band_dim="d")
    with pytest.raises(SceneError, match="three dimensions"):
        anomaly_map(bare[0], RECIPE)
