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


SCRIPT = """
import json
import jax, jax.numpy as jnp, numpy as np
from scoread_jax import ensemble, loss, parallel, precondition, train
from scoread_jax.config import TrainConfig
from scoread_jax.network.mlp import mlp
from scoread_jax.sde import ExponentialVE

sde, network = ExponentialVE(), mlp(5, hidden=8, blocks=1, embedding=4)
spectra, chosen = jax.random.uniform(jax.random.key(1), (61, 5)), jnp.arange(61)
criterion = loss.denoising_score_matching(sde, precondition.over_std(sde, network.apply))
recipe = TrainConfig(epochs=4, batch_size=16, learning_rate=1e-3, ensemble=3, patience=2, ema_decay=0.9)
start = ensemble.networks(network, 3).init(jax.random.key(0))
result = {"params": {}, "resumed": {}, "losses": {}, "compiled": [], "used": {}}


def fit(state, callback):
    state = train.fit(jax.random.key(5), state, spectra, None, chosen, criterion, recipe, callback)
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(state.variables)]).astype(float).tolist()


for devices in (1, 2, 8):
    parallel.use_devices(count=devices)
    kept, losses = [], []

    def watch(progress):
        kept.append(jax.tree.map(np.array, progress.state))
        losses.append((progress.loss, progress.held_out))
        result["compiled"].append(train.run_steps._cache_size())

    result["params"][devices] = fit(train.init_state(start, recipe, 55), watch)
    result["losses"][devices] = losses
    result["resumed"][devices] = fit(jax.tree.map(jnp.asarray, kept[1]), None)
    members = parallel.spread_trainings(3)
    result["used"][devices] = len(members.devices)
    if devices > 2:
        continue
    state = train.place(train.init_state(start, recipe, 55), members)
    key, data, order = members.place_shared((jax.random.key(5), spectra, chosen[:48].reshape(3, 16)))
    optimizer = train.make_optimizer(recipe, 12)
    options = dict(loss=criterion, optimizer=optimizer, ema_decay=0.9, members=members)
    program = train.run_steps.lower(key, state, 3, order, data, None, **options).compile().as_text()
    result.setdefault("collectives", []).append(
        [name for name in ("all-gather", "all-to-all", "collective-permute", "reduce-scatter") if name in program]
    )
print(json.dumps(result))
"""


@pytest.fixture(scope="module")
def eight_devices(on_eight_devices):
    return on_eight_devices(SCRIPT)


def test_members_over_devices(eight_devices):
    """On two of them one has two members to do; on eight, five have none."""
    assert eight_devices["used"] == {"1": 0, "2": 2, "8": 3}
    params, losses = eight_devices["params"], eight_devices["losses"]
    for devices in ("2", "8"):
        np.testing.assert_allclose(params[devices], params["1"], atol=1e-5)
        np.testing.assert_allclose(losses[devices], losses["1"], rtol=1e-5)


def test_members_over_devices_go_on_where_they_stopped(eight_devices):
    assert eight_devices["resumed"] == eight_devices["params"]


def test_members_over_devices_are_compiled_once(eight_devices):
    """And again for another number of devices."""
    assert set(eight_devices["compiled"]) <= {1, 2, 3}


def test_devices_exchange_nothing_but_losses(eight_devices):
    assert eight_devices["collectives"] == [[]] * 2


def fit(network, criterion, recipe, variables, callback=None):
    spectra = jax.random.uniform(jax.random.key(11), (PIXELS, BANDS))
    state = train.init_state(variables, recipe, PIXELS)
    return train.fit(jax.random.key(5), state, spectra, None, jnp.arange(PIXELS), criterion, recipe, callback)


def test_members_are_trained_as_if_alone(network):
    """With its own noise, its own clipping, and nothing of the others; the loss that is told is their mean."""
    criterion = loss.denoising_score_matching(SDE, precondition.over_std(SDE, network.apply))
    together = ensemble.networks(network, MEMBERS)
    recipe = dataclasses.replace(RECIPE, ensemble=MEMBERS)
    start = together.init(jax.random.key(0))
    told, told_alone = [], []
    found = fit(together, criterion, recipe, start, lambda progress: told.append(progress.loss))
    assert found.params["kernel"].shape == (MEMBERS, BANDS, BANDS)
    for member in range(MEMBERS):

        def alone(variables, key, x, rings, batches, average, member=member):
            return criterion(variables, jax.random.fold_in(key, member), x, rings, batches, average)

        variables = {"params": {"kernel": start["params"]["kernel"][member]}, "constants": start["constants"]}
        expected = fit(network, alone, RECIPE, variables, lambda progress: told_alone.append(progress.loss))
        np.testing.assert_allclose(found.params["kernel"][member], expected.params["kernel"], atol=1e-5)
    np.testing.assert_allclose(told, np.reshape(told_alone, (MEMBERS, -1)).mean(axis=0), rtol=1e-5)


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
