"""Stopping without labels: on spectra that do not train, at the same times and under the same noise."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoread_jax import ensemble, held_out, loss, precondition, train
from scoread_jax.config import TrainConfig
from scoread_jax.errors import ConfigError
from scoread_jax.network import Network
from scoread_jax.sde import ExponentialVE

SDE = ExponentialVE()
BANDS, PIXELS = 6, 80
RECIPE = TrainConfig(epochs=40, batch_size=8, learning_rate=1e-2, patience=3)


def init(key):
    return {"params": {"kernel": 0.1 * jax.random.normal(key, (BANDS, BANDS))}, "constants": {}}


NETWORK = Network(init, lambda variables, x, t, ring: (x @ variables["params"]["kernel"]) * (1 + t))
LOSS = loss.denoising_score_matching(SDE, precondition.over_std(SDE, NETWORK.apply))


@pytest.fixture(scope="module")
def spectra():
    return jax.random.uniform(jax.random.key(11), (PIXELS, BANDS))


def fit(spectra, recipe, callback=None, state=None, key=5):
    state = train.init_state(init(jax.random.key(0)), recipe, PIXELS) if state is None else state
    return train.fit(jax.random.key(key), state, spectra, None, jnp.arange(PIXELS), LOSS, recipe, callback)


def watched(spectra, recipe, **more):
    seen = []
    state = fit(spectra, recipe, lambda p: seen.append(p._replace(state=jax.device_get(p.state))), **more)
    return state, seen


def test_a_tenth_is_held_out_and_does_not_train():
    trained, held = held_out.split(jax.random.key(0), 100 + jnp.arange(203), 5)
    assert held.shape == (4, 5)
    assert sorted([*trained.tolist(), *held.ravel().tolist()]) == list(range(100, 303))
    assert (np.diff(trained) > 0).all()
    assert held_out.batches_of(10**7, 256) == 16
    assert held_out.batches_of(20, 16) == 1


def test_what_is_held_out_changes_nothing_but_the_end(spectra):
    """The parameters are those of training on the others alone."""
    _, _, split_key, _ = jax.random.split(jax.random.key(5), 4)
    others, _ = held_out.split(split_key, jnp.arange(PIXELS), RECIPE.batch_size)
    short = dataclasses.replace(RECIPE, epochs=2, patience=0)
    plain = train.fit(
        jax.random.key(5), train.init_state(init(jax.random.key(0)), short, len(others)), spectra, None, others, LOSS,
        short,
    )  # fmt: skip
    found = fit(spectra, dataclasses.replace(short, patience=9))
    np.testing.assert_array_equal(found.params["kernel"], plain.params["kernel"])


def test_it_ends_when_the_loss_has_not_fallen_and_keeps_the_best(spectra):
    state, seen = watched(spectra, RECIPE)
    losses = [p.held_out for p in seen]
    best = int(np.argmin(losses))
    assert len(seen) == best + 1 + RECIPE.patience < RECIPE.epochs
    assert min(losses) < losses[0]
    assert float(state.best.loss) == np.float32(losses[best])
    np.testing.assert_array_equal(state.variables["params"]["kernel"], seen[best].state.params["kernel"])
    assert not np.array_equal(state.params["kernel"], state.variables["params"]["kernel"])
    assert [p.epochs for p in seen] == [RECIPE.epochs] * (len(seen) - 1) + [len(seen)]


def test_patience_does_not_change_the_course(spectra):
    _, short = watched(spectra, RECIPE)
    _, long = watched(spectra, dataclasses.replace(RECIPE, patience=8))
    assert len(short) < len(long)
    assert [p.held_out for p in short] == [p.held_out for p in long[: len(short)]]


def test_the_same_parameters_have_the_same_loss(spectra):
    """Common random numbers: without learning the loss stands still, to the last bit."""
    _, seen = watched(spectra, dataclasses.replace(RECIPE, learning_rate=1e-30, weight_decay=0.0))
    assert len({p.held_out for p in seen}) == 1
    assert len(seen) == 1 + RECIPE.patience


def test_the_moving_average_is_judged_where_there_is_one(spectra):
    state, seen = watched(spectra, dataclasses.replace(RECIPE, ema_decay=0.9))
    best = int(np.argmin([p.held_out for p in seen]))
    np.testing.assert_array_equal(state.variables["params"]["kernel"], seen[best].state.average["kernel"])


def test_from_any_state_it_goes_on_bit_for_bit(spectra, monkeypatch):
    monkeypatch.setattr(train, "STEPS_AT_ONCE", 5)
    whole, seen = watched(spectra, RECIPE)
    for kept in (seen[1], seen[len(seen) // 2], seen[-2], seen[-1]):
        again = fit(spectra, RECIPE, state=jax.tree.map(jnp.asarray, kept.state))
        jax.tree.map(np.testing.assert_array_equal, again, whole)


def test_every_epoch_uses_what_was_compiled(spectra):
    jitted = held_out.judge, train.run_steps
    sizes = []

    def count(progress):
        sizes.append([one._cache_size() for one in jitted])

    fit(spectra, RECIPE, count)
    fit(spectra, RECIPE, count, key=6)
    assert len(sizes) > 2 * RECIPE.patience
    assert all(size == sizes[0] for size in sizes)


def test_an_ensemble_stops_as_one(spectra):
    recipe = dataclasses.replace(RECIPE, ensemble=2)
    network = ensemble.networks(NETWORK, 2)
    state = train.init_state(network.init(jax.random.key(0)), recipe, PIXELS)
    found = train.fit(jax.random.key(5), state, spectra, None, jnp.arange(PIXELS), LOSS, recipe)
    assert found.variables["params"]["kernel"].shape == (2, BANDS, BANDS)
    assert int(found.step) < 40 * 9


def test_too_few_pixels_to_hold_some_out(spectra):
    with pytest.raises(ConfigError, match="at most the 39 pixels that train"):
        fit(spectra, dataclasses.replace(RECIPE, batch_size=41))
