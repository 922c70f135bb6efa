"""Values at the ends of their types: a finite map, or one clear error."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.robustness import tiny
from scoread_jax import config, pipeline
from scoread_jax.errors import SceneError
from scoread_jax.scene import make_scene
from scoread_jax.statistic import STATISTICS, Perturbed

RECIPE = config.replace(tiny.recipe(), {"train.steps": 10})
PLAIN = np.asarray(tiny.scene().cube, np.float64)
WHOLE_RANGE = np.random.default_rng(0).integers(-32768, 32768, PLAIN.shape).astype(np.int16)


def hot(cube, factor, bands=slice(None)):
    found = cube.copy()
    found[3, 4, bands] *= factor
    return found


@pytest.mark.parametrize(
    "cube",
    [hot(PLAIN, 1e30), hot(PLAIN, 1e30, 2), 1e30 * PLAIN, 1e-310 * PLAIN, -PLAIN, WHOLE_RANGE],
    ids=["a hot pixel", "a hot value", "1e30", "denormals", "negative", "all of int16"],
)
def test_maps_are_finite(cube):
    _, anomaly_map = pipeline.detect(make_scene(cube), RECIPE)
    assert np.isfinite(anomaly_map).all()
    assert np.ptp(anomaly_map) > 0


def test_a_hot_pixel_is_the_most_anomalous():
    _, anomaly_map = pipeline.detect(make_scene(hot(PLAIN, 1e30)), RECIPE)
    assert np.unravel_index(anomaly_map.argmax(), anomaly_map.shape) == (3, 4)


@pytest.mark.parametrize("factor", [1e3, -1e3, 1e30])
def test_a_hot_pixel_is_told(factor):
    (note,) = make_scene(hot(PLAIN, factor)).notes
    assert note.startswith("warning: 1 of 108 pixels, (3, 4) the first, set the range of values: all others take ")
    assert make_scene(hot(PLAIN, 5)).notes == make_scene(PLAIN).notes == ()


@pytest.mark.parametrize("power", [-300, 30, 300])
def test_units_do_not_matter(power):
    """By powers of two nothing is rounded: the spectra that a network sees are the same to the last bit."""
    scaled = np.ldexp(PLAIN, power)
    found, expected = (pipeline.scene.spectra(image, pipeline.scene.global_min_max(image))
                       for image in (make_scene(scaled), make_scene(PLAIN)))  # fmt: skip
    np.testing.assert_array_equal(found, expected)


def test_the_range_of_int16_does_not_wrap():
    image = make_scene(WHOLE_RANGE)
    scaling = pipeline.scene.global_min_max(image)
    assert scaling.scale == float(WHOLE_RANGE.max()) - float(WHOLE_RANGE.min()) > 2**15
    spectra = pipeline.scene.spectra(image, scaling)
    assert (spectra.min(), spectra.max()) == (0, 1)


@pytest.mark.parametrize(
    ("cube", "words"),
    [
        (np.full_like(PLAIN, 3.0), "2 bands that are not constant"),
        (np.broadcast_to(PLAIN[:1, :1], PLAIN.shape), "2 bands that are not constant"),
        (PLAIN[:1, :1], "2 valid pixels"),
        (PLAIN[:, :, :1], "2 bands that are not constant"),
        (np.full_like(PLAIN, np.nan), "finite"),
    ],
    ids=["constant", "duplicates", "one pixel", "one band", "NaN"],
)
def test_scenes_with_nothing_to_find_are_refused(cube, words):
    with pytest.raises(SceneError, match=f"expected.*{words}"):
        make_scene(cube)


def test_a_range_beyond_float64_is_refused():
    cube = PLAIN.copy()
    cube[0, 0], cube[1, 1] = 1.5e308, -1.5e308
    cube[0, 0, 0], cube[1, 1, 0] = 1.4e308, -1.4e308
    with pytest.raises(SceneError, match="range fits float64"):
        pipeline.scene.global_min_max(make_scene(cube))


@pytest.mark.parametrize("name", ["unit_sum", "mean_score", "clean_norm"])
def test_scores_of_length_zero_are_no_division_by_zero(name):
    zeros = {"score": jnp.zeros((4, 6)), "noise": jnp.zeros((4, 6)), "std": jnp.ones(()), "clean_score": jnp.zeros(6)}
    assert jnp.isfinite(STATISTICS[name](Perturbed(**dict.fromkeys(Perturbed._fields) | zeros)))
