"""The whole road: deterministic, compiled once, in one go or two, blind to the truth and to masked pixels."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from scoread_jax import config, parallel, pipeline, train
from scoread_jax.errors import ConfigError, TrainingError
from scoread_jax.scene import make_scene

ROWS, COLS, BANDS = 14, 13, 7
RECIPE = config.replace(
    config.load("default"), {"train.steps": 10, "train.batch_size": 32, "view.components": 5, "detect.perturbations": 4}
)


def made(seed, **more):
    values = np.random.default_rng(seed).random((ROWS, COLS, BANDS)).cumsum(axis=2).astype(np.float32)
    return make_scene(values, **more)


@pytest.fixture(scope="module")
def result():
    return pipeline.detect(made(0), RECIPE)


def test_fit_and_score_equal_detect(result):
    detector, anomaly_map = result
    np.testing.assert_array_equal(pipeline.score(pipeline.fit(made(0), RECIPE), made(0)), anomaly_map)
    np.testing.assert_array_equal(pipeline.score(detector, made(0)), anomaly_map)


def test_seeds(result):
    _, again = pipeline.detect(made(0), RECIPE)
    np.testing.assert_array_equal(again, result[1])
    _, other = pipeline.detect(made(0), dataclasses.replace(RECIPE, seed=1))
    assert not np.array_equal(other, result[1])


@pytest.mark.parametrize("apart", [{}, {"train.patience": 2}])
def test_several_seeds_together_are_each_alone(apart):
    """But for the order of sums, which the few steps of this recipe hardly let grow."""
    recipe = config.replace(RECIPE, apart)
    together = pipeline.detect_seeds(made(0), [0, 3], recipe)
    for seed, found in zip([0, 3], together, strict=True):
        _, alone = pipeline.detect(made(0), dataclasses.replace(recipe, seed=seed))
        np.testing.assert_allclose(found, alone, rtol=1e-3, atol=1e-3)
    assert not np.allclose(*together, atol=1e-2)


def test_a_run_that_diverges_among_others_is_told():
    with pytest.raises(TrainingError, match=r"not finite at step \d+ .*learning_rate"):
        pipeline.detect_seeds(made(0), [0, 1], config.replace(RECIPE, {"train.learning_rate": 1e30}))


@pytest.mark.parametrize("run", [pipeline.detect, pipeline.fit], ids=["detect", "fit"])
def test_a_batch_larger_than_the_scene_is_refused_before_anything_is_computed(run, monkeypatch):
    monkeypatch.setattr(pipeline, "closed_form_members", lambda *_: pytest.fail("computed"))
    with pytest.raises(ConfigError, match=f"at most the {ROWS * COLS} pixels .*found {ROWS * COLS + 1}"):
        run(made(0), config.replace(RECIPE, {"train.batch_size": ROWS * COLS + 1}))


def test_the_truth_is_not_looked_at(result):
    truth = np.random.default_rng(1).random((ROWS, COLS)) < 0.3
    _, anomaly_map = pipeline.detect(made(0, truth=truth), RECIPE)
    np.testing.assert_array_equal(anomaly_map, result[1])


def test_masked_pixels_may_hold_anything():
    mask = np.ones((ROWS, COLS), bool)
    mask[3:6, 4:9] = False
    scene = made(0, mask=mask)
    other = dataclasses.replace(scene, cube=np.where(mask[..., None], scene.cube, np.float32(-9999)))
    (_, first), (_, second) = (pipeline.detect(one, RECIPE) for one in (scene, other))
    assert np.isnan(first[~mask]).all()
    assert np.isfinite(first[mask]).all()
    np.testing.assert_array_equal(first, second)


def test_a_second_scene_of_the_same_shape_compiles_nothing(result):
    def cached():
        functions = parallel.pixels._compiled.cache_info()
        return train.run_steps._cache_size(), functions.currsize, functions.misses

    before = cached()
    pipeline.detect(made(5), RECIPE)
    assert cached() == before


@pytest.mark.parametrize("name", ["exponential_ve", "geometric_ve", "vp", "sub_vp"])
def test_every_named_process_runs(name):
    values = {"sde.name": name, "sde.t_max": 1.0, "detect.times": [0.3, 0.7], "fusion.members": ["network"]}
    recipe = config.replace(RECIPE, values | {"fusion.weights": [1.0], "train.drop": 0.0})
    _, anomaly_map = pipeline.detect(made(0), recipe)
    assert np.isfinite(anomaly_map).all()
    assert np.std(anomaly_map) > 0
