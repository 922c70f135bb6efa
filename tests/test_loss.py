"""Weightings, time samplers and robust training: what they are said to be, in closed form."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from scoread_jax import config, loss, precondition, train
from scoread_jax.errors import ConfigError
from scoread_jax.network.energy import energy
from scoread_jax.parallel import ONE_DEVICE
from scoread_jax.sde import VP, ExponentialVE, GeometricVE, LinearVE, noise_level

PROCESSES = [ExponentialVE(), LinearVE(), GeometricVE(), VP(), VP(sub=True)]
IDS = ["exponential_ve", "linear_ve", "geometric_ve", "vp", "sub_vp"]


def log_noise(sde, times):
    return np.sort(np.log(jax.vmap(lambda t: noise_level(sde, t))(times)))


@pytest.mark.parametrize("sde", PROCESSES, ids=IDS)
def test_importance_times_have_the_density_of_the_likelihood_weighting(sde):
    """P(t ≤ T) = ∫ g²/std² / whole, by quadrature, against the times themselves."""
    times = np.sort(loss.importance_times(jax.random.key(0), sde, 400))
    grid = jnp.geomspace(sde.t_min, sde.t_max, 20_001)
    weight = np.asarray(jax.vmap(lambda t: loss.likelihood_weighting(sde, t))(grid), np.float64)
    steps = 0.5 * (weight[1:] + weight[:-1]) * np.diff(np.asarray(grid, np.float64))
    cdf = np.concatenate([[0], np.cumsum(steps)]) / steps.sum()
    np.testing.assert_allclose(np.interp(times, grid, cdf), (np.arange(400) + 0.5) / 400, atol=0.01)


def test_importance_sampling_gives_the_likelihood_loss_with_less_variance():
    """Same mean, up to the whole weight, of the two estimates; and the spread that it is for."""
    sde, data = LinearVE(0.05, 6.0), jax.random.normal(jax.random.key(0), (4000, 3))

    def score(variables, x, t, ring):
        return -x / (1.5 + t**2)

    def estimates(weighting, sampler):
        criterion = loss.denoising_score_matching(sde, score, weighting, sampler)
        return np.asarray(jax.vmap(lambda key: criterion({}, key, data[:500], None))(jax.random.split(keys, 200)))

    keys = jax.random.key(1)
    weighted = estimates(loss.likelihood_weighting, loss.uniform_times) * (sde.t_max - sde.t_min)
    sampled = estimates(loss.std_weighting, loss.importance_times) * 2 * np.log(sde.t_max / sde.t_min)
    assert sampled.mean() == pytest.approx(weighted.mean(), abs=4 * float(weighted.std()) / 200**0.5)
    assert sampled.std() < 0.5 * weighted.std()


@pytest.mark.parametrize("sde", PROCESSES, ids=IDS)
def test_log_normal_times_are_log_normal_in_their_noise(sde):
    found = log_noise(sde, loss.log_normal_times(jax.random.key(0), sde, 500))
    mean, low, high = -1.2 + np.log(2), *log_noise(sde, jnp.asarray([sde.t_min, sde.t_max]))
    law = stats.truncnorm((low - mean) / 1.2, (high - mean) / 1.2, mean, 1.2)
    assert stats.kstest(found, law.cdf).statistic < 0.01


@pytest.mark.parametrize("name", loss.TIME_SAMPLERS)
def test_times_stay_in_their_range(name):
    for sde in PROCESSES:
        times = loss.TIME_SAMPLERS[name](jax.random.key(5), sde, 257)
        assert times.shape == (257,)
        assert times.min() >= sde.t_min
        assert times.max() <= sde.t_max


def test_min_snr_is_the_clipped_signal_to_noise_ratio():
    """min(SNR, 5) · ‖D − x‖², by the definition, at small and at large noise."""
    sde = LinearVE(0.05, 6.0)
    x, z = jax.random.normal(jax.random.key(0), (2, 4))

    def score(variables, x, t, ring):
        return jnp.sin(x)

    for t in (0.1, 0.3, 2.0):
        noisy = x + t * z
        denoised = noisy + t**2 * jnp.sin(noisy)
        expected = min(1 / t**2, 5.0) * jnp.sum((denoised - x) ** 2)
        t = jnp.float32(t)
        found = loss.min_snr_weighting(sde, t) * loss.example_loss(sde, score, {}, x, t, z, None)
        assert found == pytest.approx(float(expected), rel=1e-4)


def test_likelihood_weighting_is_the_squared_diffusion():
    """λ = g² in front of ‖s + z/std‖²."""
    for sde in PROCESSES:
        t, s, z = jnp.float32(0.3), jnp.asarray([1.0, -2.0]), jnp.asarray([0.3, 0.4])
        _, std = sde.marginal(t)
        expected = sde.diffusion(t) ** 2 * jnp.sum((s + z / std) ** 2)
        assert loss.likelihood_weighting(sde, t) * jnp.sum((std * s + z) ** 2) == pytest.approx(
            float(expected), rel=1e-4
        )


def far(variables, x, t, ring):
    """A score that is very long for the spectra far from zero."""
    return jnp.where(jnp.abs(x).max() > 50, 1e3, variables["gain"]) * jnp.ones_like(x)


def test_the_teacher_leaves_out_what_the_average_finds_odd():
    x = jnp.zeros((10, 4)).at[3].set(100.0).at[7].set(100.0)
    variables = {"gain": jnp.float32(0.1)}
    sde, key = ExponentialVE(), jax.random.key(0)
    taught = loss.denoising_score_matching(sde, far, teacher=loss.Teacher(0.8, 0.05))
    assert taught(variables, key, x, None, average=variables) < 10
    assert taught(variables, key, x, None) > 1e3  # no average, no judgement


def test_the_teachers_weights():
    """Equal for the shortest, each judged with its own ring, 0 for the others; their mean is one."""
    x = jnp.arange(6.0)[::-1][:, None] * jnp.ones((1, 2))
    rings = x[:, None, :] + 10.0

    def score(variables, x, t, ring):
        return jnp.where(jnp.all(ring - 10 == x[None, :]), x, jnp.nan)

    found = loss._taught(score, loss.Teacher(0.5, 1.0), {}, x, rings, ONE_DEVICE)
    np.testing.assert_array_equal(found, [0, 0, 0, 2, 2, 2])


def test_training_with_a_teacher_and_with_fewer_rings():
    """The whole loop runs, and gives other parameters than without."""
    spectra, rings = (
        jax.random.uniform(jax.random.key(0), (32, 4)),
        jnp.arange(32)[:, None] // 2 * jnp.ones((1, 3), int),
    )

    def apply(variables, x, t, ring):
        return (x + jnp.mean(ring, axis=0)) @ variables["params"]["kernel"]

    found = []
    for settings in ({}, {"teacher": loss.Teacher(0.5, 0.3)}, {"ring_dropout": 0.5}):
        recipe = config.TrainConfig(epochs=1, batch_size=8, learning_rate=1e-2, ema_decay=0.5)
        state = train.init_state({"params": {"kernel": 0.1 * jnp.eye(4)}, "constants": {}}, recipe, 32)
        criterion = loss.denoising_score_matching(ExponentialVE(), apply, **settings)
        after = train.fit(jax.random.key(1), state, spectra, rings, jnp.arange(32), criterion, recipe)
        found.append(np.asarray(after.params["kernel"]))
    assert np.isfinite(found).all()
    assert not np.allclose(found[0], found[1], rtol=1e-3)
    assert not np.allclose(found[0], found[2], rtol=1e-3)


def test_ring_dropout_takes_the_ring_of_some():
    """The loss of a score that is its ring's mean tells how many rings were there."""
    x, rings = jnp.zeros((2000, 1)), jnp.ones((2000, 3, 1))

    def score(variables, x, t, ring):
        return 1e3 * jnp.mean(ring, axis=0)

    sde = GeometricVE(0.999, 1.001)
    for share in (0.0, 0.25):
        criterion = loss.denoising_score_matching(sde, score, ring_dropout=share)
        found = float(criterion({}, jax.random.key(0), x, rings)) / 1e6
        assert found == pytest.approx(1 - share, abs=4 * (0.25 * 0.75 / 2000) ** 0.5 if share else 0.01)


@pytest.mark.parametrize("batch", [12, 10])
def test_spectra_that_share_a_time(batch):
    """The same loss as with each time said as often."""

    def at_time(variables, t):
        return {"at_time": {"shift": jnp.sin(t)}}

    def score(variables, x, t, ring):
        return jnp.tanh(x) * variables["at_time"]["shift"]

    def as_often(key, sde, count):
        return jnp.repeat(loss.stratified_times(key, sde, 3), 4)[:count]

    sde, x = LinearVE(0.05, 6.0), jax.random.normal(jax.random.key(0), (batch, 3))
    weighting, key = loss.edm_weighting, jax.random.key(1)
    shared = loss.denoising_score_matching(
        sde, score, weighting, loss.stratified_times, spectra_per_time=4, at_time=at_time
    )
    alone = loss.denoising_score_matching(sde, score, weighting, as_often, at_time=at_time)
    assert shared({}, key, x, None) == pytest.approx(float(alone({}, key, x, None)), rel=1e-6)


def test_edm_is_wiener_with_one_variance():
    def nothing(variables, x, t, ring):
        return jnp.tanh(x) * t

    sde, x, t = VP(), jnp.asarray([0.5, -1.0, 2.0]), jnp.float32(0.3)
    several = {"params": {}, "constants": {"variance": jnp.asarray([0.5, 2.0, 0.5])}}
    equal = {"params": {}, "constants": {"variance": jnp.ones(3)}}
    one = precondition.edm(sde, nothing)(several, x, t, None)
    np.testing.assert_allclose(one, precondition.wiener(sde, nothing)(equal, x, t, None), rtol=1e-6)
    assert not np.allclose(one, precondition.wiener(sde, nothing)(several, x, t, None), rtol=1e-2)


@pytest.mark.parametrize("preconditioning", ["over_std", "edm"])
def test_the_energy_networks_score_has_a_symmetric_jacobian(preconditioning):
    network = energy(4, hidden=16, blocks=1, embedding=8)
    variables = network.init(jax.random.key(0))
    variables["constants"]["variance"] = jnp.asarray([0.5, 2.0, 0.5, 1.0])
    score = precondition.PRECONDITIONINGS[preconditioning](LinearVE(), network.apply)
    x, t = jnp.asarray([0.5, -1.0, 2.0, 0.1]), jnp.float32(0.7)
    jacobian = jax.jacfwd(lambda x: score(variables, x, t, None))(x)
    off = jacobian - jnp.diag(jnp.diag(jacobian))
    assert jnp.abs(off).max() > 1e-3
    np.testing.assert_allclose(jacobian, jacobian.T, atol=1e-5)


def test_what_the_teacher_wants():
    with pytest.raises(ConfigError, match=r"1 \(all\) where train.ema_decay is 0 or"):
        config.TrainConfig(teacher_keep=0.8)
    assert config.TrainConfig(teacher_keep=0.8, ema_decay=0.9).teacher_keep == 0.8
