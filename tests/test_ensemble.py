"""An ensemble is its members, trained apart, and their mean."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoread_jax import checkpoint, config, ensemble, loss, pipeline, precondition, train
from scoread_jax.config import TrainConfig
from scoread_jax.errors import ConfigError
from scoread_jax.network import Network
from scoread_jax.scene import make_scene
from scoread_jax.sde import ExponentialVE

SDE = ExponentialVE()
BANDS, PIXELS, MEMBERS = 6, 37, 3
RECIPE = TrainConfig(epochs=2, batch_size=8, learning_rate=1e-2, clip_norm=0.1)


@pytest.fixture(scope="module")
def network():
    """A dense layer compiles in no time."""

    def init(key):
        return {
            "params": {"kernel": 0.1 * jax.random.normal(key, (BANDS, BANDS))},
            "constants": {"gain": jnp.full((), 2.0)},
        }

    def apply(variables, x, t, ring):
        return variables["constants"]["gain"] * (x @ variables["params"]["kernel"]) * (1 + t)

    return Network(init, apply)


def fit(network, criterion, recipe, variables):
    spectra = jax.random.uniform(jax.random.key(11), (PIXELS, BANDS))
    state = train.init_state(variables, recipe, PIXELS)
    return train.fit(jax.random.key(5), state, spectra, None, jnp.arange(PIXELS), criterion, recipe)


def test_members_are_trained_as_if_alone(network):
    """With its own noise, its own clipping, and nothing of the others."""
    criterion = loss.denoising_score_matching(SDE, precondition.over_std(SDE, network.apply))
    together = ensemble.networks(network, MEMBERS)
    recipe = dataclasses.replace(RECIPE, ensemble=MEMBERS)
    start = together.init(jax.random.key(0))
    found = fit(together, ensemble.total_loss(criterion, MEMBERS), recipe, start)
    assert found.params["kernel"].shape == (MEMBERS, BANDS, BANDS)
    for member in range(MEMBERS):

        def alone(variables, key, x, rings, batches, average, member=member):
            return criterion(variables, jax.random.fold_in(key, member), x, rings, batches, average)

        variables = {"params": {"kernel": start["params"]["kernel"][member]}, "constants": start["constants"]}
        expected = fit(network, alone, RECIPE, variables)
        np.testing.assert_allclose(found.params["kernel"][member], expected.params["kernel"], atol=1e-5)


def test_scores_are_averaged(network):
    score = precondition.over_std(SDE, network.apply)
    variables = ensemble.networks(network, MEMBERS).init(jax.random.key(0))
    x, t = jnp.arange(BANDS) / BANDS, jnp.asarray(0.3)
    alone = [
        score({"params": {"kernel": kernel}, "constants": variables["constants"]}, x, t, None)
        for kernel in variables["params"]["kernel"]
    ]
    assert np.std(alone, axis=0).min() > 0
    found = ensemble.mean_score(score)(variables, x, t, None)
    np.testing.assert_allclose(found, np.mean(alone, axis=0), rtol=1e-5)


def test_the_loss_that_is_told_is_the_mean(network):
    criterion = loss.denoising_score_matching(SDE, precondition.over_std(SDE, network.apply))
    variables = ensemble.networks(network, MEMBERS).init(jax.random.key(0))
    x, key = jnp.ones((8, BANDS)), jax.random.key(1)
    alone = [
        criterion(
            {"params": {"kernel": kernel}, "constants": variables["constants"]}, jax.random.fold_in(key, m), x, None
        )
        for m, kernel in enumerate(variables["params"]["kernel"])
    ]
    assert ensemble.total_loss(criterion, MEMBERS)(variables, key, x, None) == pytest.approx(np.mean(alone), rel=1e-5)


def test_a_detector_with_an_ensemble(tmp_path):
    values = np.random.default_rng(0).random((12, 11, 7)).cumsum(axis=2).astype(np.float32)
    recipe = config.replace(
        config.load("default"),
        {
            "train.steps": 10, "train.batch_size": 32, "train.ensemble": 2, "train.drop": 0.0, "view.components": 5,
            "network.hidden": 16, "network.blocks": 1, "network.embedding": 4, "detect.perturbations": 4,
            "fusion.members": "network", "fusion.weights": 1.0,
        },
    )  # fmt: skip
    detector, anomaly_map = pipeline.detect(make_scene(values), recipe)
    assert {leaf.shape[0] for leaf in jax.tree.leaves(detector.variables["params"])} == {2}
    checkpoint.save(tmp_path / "detector", detector)
    again = pipeline.score(checkpoint.load(tmp_path / "detector"), make_scene(values))
    np.testing.assert_array_equal(again, anomaly_map)


def test_an_ensemble_of_none():
    with pytest.raises(ConfigError, match=r"train.ensemble must be 1 or more, found 0"):
        TrainConfig(ensemble=0)
