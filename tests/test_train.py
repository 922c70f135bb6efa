"""Loss and training: against a plain loop, resumed, trimmed, diverged."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from scoread_jax import loss, precondition, train
from scoread_jax.config import TrainConfig
from scoread_jax.errors import ConfigError, TrainingError
from scoread_jax.network import Network
from scoread_jax.network.unet1d import unet1d
from scoread_jax.sde import ExponentialVE, LinearVE

SDE = ExponentialVE()
BANDS, PIXELS = 6, 37
EVERY = jnp.arange(PIXELS)
RECIPE = TrainConfig(epochs=3, batch_size=8, learning_rate=1e-3)


@pytest.fixture(scope="module")
def network():
    """The loop does not care which network it trains: a dense layer compiles in no time."""

    def init(key):
        return {
            "params": {"kernel": 0.1 * jax.random.normal(key, (BANDS, BANDS))},
            "constants": {"gain": jnp.ones(())},
        }

    def apply(variables, x, t, ring):
        return variables["constants"]["gain"] * (x @ variables["params"]["kernel"]) * (1 + t)

    return Network(init, apply)


@pytest.fixture(scope="module")
def spectra():
    return jax.random.uniform(jax.random.key(11), (PIXELS, BANDS))


def start(network, recipe):
    return train.init_state(network.init(jax.random.key(0)), recipe, PIXELS)


def dsm(network, **settings):
    return loss.denoising_score_matching(SDE, precondition.over_std(SDE, network.apply), **settings)


def fit(network, spectra, recipe, state=None, callback=None):
    state = start(network, recipe) if state is None else state
    return train.fit(jax.random.key(5), state, spectra, None, EVERY, dsm(network), recipe, callback)


def test_loss_of_the_true_score_is_the_unexplained_noise():
    """For N(0, c² I) data the score is −x/(c² + std²), whose loss is bands · c²/(c² + std²) at each time."""
    c, bands = 0.5, 3

    def score(variables, x, t, ring):
        return -x / (c**2 + SDE.marginal(t)[1] ** 2)

    x = c * jax.random.normal(jax.random.key(0), (200_000, bands))
    found = loss.denoising_score_matching(SDE, score)({}, jax.random.key(1), x, None)
    times = jnp.linspace(SDE.t_min, SDE.t_max, 20_001)
    std = jax.vmap(SDE.marginal)(times)[1]
    assert found == pytest.approx(float(bands * jnp.mean(c**2 / (c**2 + std**2))), rel=0.01)


def test_trimmed_loss_keeps_the_lowest(network):
    """A batch with one absurd spectrum: trimmed of one, the loss does not see it."""

    def score(variables, x, t, ring):
        return jnp.where(jnp.abs(x).max() > 50, 1e3, 0.0) * jnp.ones_like(x)

    x = jnp.zeros((10, BANDS)).at[3].set(100.0)
    whole = loss.denoising_score_matching(SDE, score)({}, jax.random.key(0), x, None)
    trimmed = loss.denoising_score_matching(SDE, score, retain=0.9)({}, jax.random.key(0), x, None)
    assert whole > 1e3
    assert trimmed < 3 * BANDS


@pytest.mark.parametrize("sampler", [loss.uniform_times, loss.stratified_times])
def test_times_fill_their_range(sampler):
    times = np.sort(sampler(jax.random.key(2), SDE, 5000))
    assert times.min() >= SDE.t_min
    assert times.max() <= SDE.t_max
    # Kolmogorov–Smirnov distance to the uniform law, at a level of 1e-6 for independent draws
    assert np.abs(times - (np.arange(5000) + 0.5) / 5000).max() < 2.7 / 5000**0.5


def test_log_uniform_times_fill_their_range_evenly_in_the_logarithm():
    sde = LinearVE(0.05, 6.0)
    times = np.sort(loss.log_uniform_times(jax.random.key(2), sde, 1000))
    position = np.log(times / 0.05) / np.log(6.0 / 0.05)
    np.testing.assert_allclose(position, (np.arange(1000) + 0.5) / 1000, atol=0.6 / 1000)


def test_stratified_times_take_one_of_each_part():
    times = np.asarray(loss.stratified_times(jax.random.key(3), SDE, 16))
    np.testing.assert_array_equal(np.floor((times - SDE.t_min) / (SDE.t_max - SDE.t_min) * 16), np.arange(16))


def test_epoch_equals_plain_loop(network, spectra):
    """The compiled loop does what a Python loop over the same batches and keys does."""
    recipe = dataclasses.replace(RECIPE, epochs=1, ema_decay=0.9)
    key, criterion = jax.random.key(5), dsm(network)
    steps = train.steps_per_epoch(PIXELS, recipe.batch_size)
    optimizer = train.make_optimizer(recipe, steps)
    order = train.epoch_order(key, 0, EVERY, batch_size=8)
    scanned, losses = train.run_steps(
        key, start(network, recipe), steps, order, spectra, None, loss=criterion, optimizer=optimizer, ema_decay=0.9
    )
    order_key, step_key = jax.random.split(key)
    order = np.asarray(jax.random.permutation(jax.random.fold_in(order_key, 0), PIXELS))
    order = np.concatenate([order, order[: steps * 8 - PIXELS]]).reshape(steps, 8)
    assert set(order.ravel()) == set(range(PIXELS))
    state = start(network, recipe)
    params, memory, average = state.params, state.optimizer_state, state.average
    for step, batch in enumerate(order):

        def batch_loss(params, step=step, batch=batch):
            variables = {"params": params, "constants": state.constants}
            return criterion(variables, jax.random.fold_in(step_key, step), spectra[batch], None)

        value, gradient = jax.value_and_grad(batch_loss)(params)
        updates, memory = optimizer.update(gradient, memory, params)
        params = optax.apply_updates(params, updates)
        average = jax.tree.map(lambda old, new: 0.9 * old + 0.1 * new, average, params)
        assert losses[step] == pytest.approx(float(value), rel=1e-4)
    for found, expected in [(scanned.params, params), (scanned.average, average)]:
        for mine, plain in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(mine, plain, atol=2e-5)
    assert int(scanned.step) == steps


@pytest.mark.parametrize("at_once", [1, 2, 5, 512])
def test_resumed_equals_uninterrupted(network, spectra, monkeypatch, at_once):
    """From any state that a callback is shown, in the middle of an epoch too."""
    whole = fit(network, spectra, RECIPE)
    monkeypatch.setattr(train, "STEPS_AT_ONCE", at_once)
    kept = []
    fit(network, spectra, RECIPE, callback=lambda p: kept.append(jax.device_get(p.state)))
    ends = {1: [13, 14, 15], 2: [12, 14, 15], 5: [5, 10, 15], 512: [5, 10, 15]}
    assert [int(state.step) for state in kept][-3:] == ends[at_once]
    for state in kept:
        resumed = fit(network, spectra, RECIPE, state=jax.tree.map(jnp.asarray, state))
        for mine, other in zip(jax.tree.leaves(whole), jax.tree.leaves(resumed), strict=True):
            np.testing.assert_array_equal(mine, other)


def test_training_lowers_the_loss_and_tells_the_callback(network, spectra):
    seen = []
    fit(
        network,
        spectra,
        dataclasses.replace(RECIPE, epochs=30, schedule="cosine", warmup=0.1),
        callback=seen.append,
    )
    assert [p.epoch for p in seen] == list(range(1, 31))
    assert all(p.epochs == 30 for p in seen)
    assert seen[-1].step == 30 * 5
    assert np.mean([p.loss for p in seen[-5:]]) < 0.9 * seen[0].loss


def test_constants_are_not_trained(network, spectra):
    before = start(network, RECIPE)
    after = fit(network, spectra, RECIPE)
    np.testing.assert_array_equal(after.constants["gain"], before.constants["gain"])
    assert (
        np.abs(
            np.asarray(after.params["kernel"]) - np.asarray(network.init(jax.random.key(0))["params"]["kernel"])
        ).max()
        > 0
    )


def test_only_the_chosen_train(network, spectra):
    """Spectra that were not chosen can hold anything."""
    chosen = jnp.arange(0, PIXELS, 2)
    poisoned = spectra.at[1::2].set(jnp.nan)
    state = train.init_state(network.init(jax.random.key(0)), RECIPE, len(chosen))
    after = train.fit(jax.random.key(5), state, poisoned, None, chosen, dsm(network), RECIPE)
    assert jnp.isfinite(after.params["kernel"]).all()
    assert int(after.step) == 3 * train.steps_per_epoch(len(chosen), 8)


def test_steps_are_rounded_up_to_epochs():
    assert train.epochs_of(RECIPE, PIXELS) == 3  # of 5 steps each
    assert train.epochs_of(dataclasses.replace(RECIPE, steps=11), PIXELS) == 3
    assert train.epochs_of(dataclasses.replace(RECIPE, steps=10), PIXELS) == 2


def test_schedules_and_clipping():
    recipe = TrainConfig(schedule="cosine", warmup=0.1, learning_rate=1.0, weight_decay=0.0)
    optimizer = train.make_optimizer(recipe, 100)
    params, sizes = jnp.zeros(1), []
    memory = optimizer.init(params)
    for _ in range(100):
        updates, memory = optimizer.update(jnp.ones(1), memory, params)
        sizes.append(-float(updates[0]))  # Adam's step on a constant gradient is the learning rate
    assert sizes[0] == pytest.approx(0, abs=1e-6)
    assert np.argmax(sizes) == 10
    assert sizes[10] == pytest.approx(1, rel=1e-3)
    assert sizes[-1] < 0.01
    clipped = train.make_optimizer(TrainConfig(clip_norm=0.5), 10)
    plain = train.make_optimizer(TrainConfig(), 10)
    gradient = jnp.asarray([3.0, 4.0])
    expected, _ = plain.update(gradient / 10, plain.init(gradient), gradient)
    found, _ = clipped.update(gradient, clipped.init(gradient), gradient)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_diverged_training_names_the_step(network, spectra):
    with pytest.raises(TrainingError, match=r"not finite at step \d+ \(epoch \d\).*learning_rate"):
        fit(network, spectra, dataclasses.replace(RECIPE, learning_rate=1e30, epochs=5))


def test_batch_larger_than_the_scene(network, spectra):
    with pytest.raises(ConfigError, match="37 pixels that train, found 38"):
        fit(network, spectra, dataclasses.replace(RECIPE, batch_size=38))


def test_no_convolution_in_the_compiled_epoch(spectra):
    """Convolutions inside a loop are tens of times slower on CPUs, so the lowering must not bring them back."""
    network = unet1d(BANDS, hidden=16, channels=4, embedding=4)
    order = train.epoch_order(jax.random.key(0), 0, EVERY, batch_size=8)
    text = train.run_steps.lower(
        jax.random.key(0), start(network, RECIPE), 5, order, spectra, None,
        loss=dsm(network), optimizer=train.make_optimizer(RECIPE, 15), ema_decay=0.0,
    ).as_text()  # fmt: skip
    assert "dot_general" in text
    assert "convolution" not in text
