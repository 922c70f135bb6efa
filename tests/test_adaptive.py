"""A few perturbations for all pixels, all K where the rank is open."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from scoread_jax import adaptive, config, pipeline, plan, scoring
from scoread_jax.detect import Functions
from scoread_jax.errors import ConfigError
from scoread_jax.execution import PLAIN, Execution
from scoread_jax.scene import make_scene

RECIPE = config.replace(
    config.load("scoread-hydice"),
    {"network.name": "mlp", "network.hidden": 16, "network.blocks": 1, "network.embedding": 4, "train.epochs": 1,
     "detect.perturbations": 12, "detect.times": (0.05, 0.2)},
)  # fmt: skip
FEW = {"detect.first": 4, "detect.refine": 0.2}


@pytest.fixture(scope="module")
def image():
    rng = np.random.default_rng(0)
    cube = rng.random((12, 11, 6)).cumsum(axis=2).astype(np.float32)
    return make_scene(cube, mask=rng.random((12, 11)) < 0.9)


@pytest.fixture(scope="module")
def detector(image):
    return pipeline.fit(image, RECIPE)


def asked(detector, values):
    return dataclasses.replace(detector, config=config.replace(detector.config, values))


def test_open_pixels_have_the_scores_of_all_copies(image, detector, monkeypatch):
    """To the last bit, at every time; and the others those of the few, on one scale."""
    seen = {}
    monkeypatch.setattr(scoring.fusion, "fuse_times", lambda found, _: seen.setdefault(len(seen), found)[0])
    for values in ({}, {"detect.perturbations": 4}, FEW):
        pipeline.score(asked(detector, values), image)
    every, few, first, found = (seen[number] for number in range(4))
    np.testing.assert_array_equal(first, few)
    refined = np.sort(np.argsort(-few[0], kind="stable")[: int(np.ceil(0.2 * image.pixels))])
    rest = np.setdiff1d(np.arange(image.pixels), refined)
    np.testing.assert_array_equal(found[:, refined], every[:, refined])
    factors = found[:, rest] / few[:, rest]
    np.testing.assert_allclose(factors, np.broadcast_to(factors[:, :1], factors.shape), rtol=1e-6)
    assert (factors > 1).all()


def test_the_scale_is_that_of_the_open_pixels():
    first = np.array([[1.0, 2.0, 4.0, 6.0], [0.0, 0.0, 0.0, 0.0]], np.float32)
    found = np.array([[1.0, 2.0, 8.0, 12.0], [0.0, 0.0, 5.0, 5.0]], np.float32)
    expected = np.array([[2.0, 4.0, 8.0, 12.0], [0.0, 0.0, 5.0, 5.0]])
    np.testing.assert_array_equal(adaptive.on_one_scale(first, found, np.array([2, 3])), expected)


def test_ties_are_open_in_the_order_of_the_scene():
    wanted = config.replace(RECIPE, FEW | {"detect.refine": 0.3}).detect
    np.testing.assert_array_equal(adaptive.open_pixels(np.array([1.0, 3.0, 1.0, 1.0, 0.0]), wanted), [0, 1])


def test_both_passes_are_told(image, detector):
    heard = []
    told = Execution(rows=5, watch=lambda stage, done, whole: heard.append((stage, done / whole)))
    pipeline.score(asked(detector, FEW), image, told)
    assert [stage for stage, share in heard if share == 1] == ["scoring", "refining"]


def test_the_plan_counts_what_is_evaluated(image):
    cheap, dear = (plan.plan(image, config.replace(RECIPE, values), PLAIN).evaluations for values in (FEW, {}))
    assert cheap == round(image.pixels * 2 * (5 + 0.2 * 13))
    assert dear == image.pixels * 2 * 13


def test_what_has_no_first_pass_says_so(image, detector):
    with pytest.raises(ConfigError, match=r"detect.first must be 0 \(all K at once\) for mean_resultant"):
        config.replace(RECIPE, FEW | {"detect.statistic": "mean_resultant"})
    with pytest.raises(ConfigError, match="and even for antithetic noise"):
        config.replace(RECIPE, {"detect.first": 3, "detect.estimator": "antithetic"})
    with pytest.raises(ConfigError, match="in a detector to export"):
        scoring.exportable(asked(detector, FEW))
    own = dataclasses.replace(asked(detector, FEW), functions=Functions(statistic=lambda pixel: pixel.std))
    with pytest.raises(ConfigError, match="a statistic of one's own"):
        pipeline.score(own, image)
