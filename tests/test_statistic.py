"""Statistics: bounds, invariances, and their true values where the score is known in closed form."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoread_jax import config, statistic
from scoread_jax.errors import ConfigError
from scoread_jax.sde import VP, GaussianSDE, LinearVE
from scoread_jax.statistic import STATISTICS, Perturbed

BANDS = 6
SDE = LinearVE(t_min=0.01, t_max=20.0)
# Data on a linear subspace: unit variance in `dimension` coordinates, none in the others.
SUBSPACE = {d: jnp.asarray([1.0] * d + [0.0] * (BANDS - d)) for d in (1, 2, 4)}


def gaussian_score(variance, sde=SDE):
    """The score of N(0, diag(variance)) under the process."""

    def score(x, t):
        scale, std = sde.marginal(t)
        return -x / (scale**2 * variance + std**2)

    return score


def pixel_of(x, score, t, *, K=64, sde=SDE, seed=0, antithetic=False, alone=None):
    """What ``detect`` hands to a statistic."""
    x, t = jnp.asarray(x, jnp.float32), jnp.float32(t)
    scale, std = sde.marginal(t)
    noise = jax.random.normal(jax.random.key(seed), (K, len(x)))
    if antithetic:
        noise = jnp.stack([noise[: K // 2], -noise[: K // 2]], axis=1).reshape(K, -1)
    scores = jax.vmap(lambda z: score(scale * x + std * z, t))(noise)
    return Perturbed(scores, noise, std, score(scale * x, t), x, t, sde, score, alone or score)


def of_scores(scores):
    """A pixel of which only the scores count."""
    scores = jnp.asarray(scores, jnp.float32)
    score = gaussian_score(jnp.ones(scores.shape[1]))
    one = jnp.float32(1)
    return Perturbed(scores, jnp.zeros_like(scores), one, scores[0], scores[0], one, SDE, score, score)


@given(st.integers(0, 2**32 - 2), st.sampled_from([(1, 1), (1, 4), (7, 1), (12, 5)]))
def test_unit_sum_is_between_zero_and_k(seed, shape):
    K, bands = shape
    score = jax.random.normal(jax.random.key(seed), (K, bands))
    value = float(statistic.unit_sum(of_scores(score)))
    assert 0 <= value <= K * (1 + 1e-5)
    # the length of each score does not count
    lengths = jnp.exp(jax.random.normal(jax.random.key(seed + 1), (K, 1)))
    assert float(statistic.unit_sum(of_scores(score * lengths))) == pytest.approx(value, rel=1e-3, abs=1e-3)


def test_directions_in_closed_form():
    score = [[3.0, 0.0], [0.0, 4.0]]
    assert statistic.unit_sum(of_scores(score)) == pytest.approx(2**0.5)
    assert statistic.mean_score(of_scores(score)) == pytest.approx(2.5)
    assert statistic.clean_norm(of_scores(score)) == pytest.approx(3.0)
    agreeing = of_scores(jnp.tile(jnp.asarray([[0.3, -0.4]]), (8, 1)))
    assert statistic.unit_sum(agreeing) == pytest.approx(8.0, rel=1e-6)
    assert statistic.mean_resultant(agreeing) == pytest.approx(1.0, rel=1e-6)


def test_scores_of_norm_zero_count_nothing():
    assert statistic.unit_sum(of_scores(jnp.zeros((4, 3)))) == 0
    assert statistic.mean_resultant(of_scores(jnp.zeros((4, 3)))) == 0
    assert statistic.unit_sum(of_scores([[0.0, 0.0], [2.0, 0.0]])) == 1


@pytest.mark.parametrize(("K", "antithetic"), [(4, False), (4, True), (12, True), (101, False)])
def test_mean_resultant_has_no_bias_whatever_k(K, antithetic):
    """Directions of N(μ, I) in the plane; its mean over many pixels is ‖E u‖² of a million draws."""
    mean = jnp.asarray([0.8, 0.0])
    many = mean[None, :] + jax.random.normal(jax.random.key(9), (1_000_000, 2))
    expected = float(jnp.sum(jnp.mean(many / jnp.linalg.norm(many, axis=1, keepdims=True), axis=0) ** 2))

    def one(key):
        noise = jax.random.normal(key, (K, 2))
        if antithetic:
            noise = jnp.stack([noise[: K // 2], -noise[: K // 2]], axis=1).reshape(K, 2)
        return statistic.mean_resultant(of_scores(mean[None, :] + noise))

    values = jax.vmap(one)(jax.random.split(jax.random.key(1), 20_000))
    assert values.mean() == pytest.approx(expected, abs=5 * float(values.std()) / 20_000**0.5 + 2e-3)


@pytest.mark.parametrize("dimension", SUBSPACE)
def test_dimension_of_a_linear_subspace(dimension):
    """Three estimates of one number, at noise far below the data's spread."""
    on = jnp.where(SUBSPACE[dimension] > 0, 0.7, 0.0)
    pixel = pixel_of(on, gaussian_score(SUBSPACE[dimension]), 0.02, K=4000)
    assert statistic.dsm_residual(pixel) == pytest.approx(dimension, rel=0.1)
    assert statistic.flipd(pixel) == pytest.approx(dimension, abs=0.01)
    assert np.floor(statistic.normal_bundle(pixel)) == dimension


def test_dimension_grows_off_the_subspace():
    """At distance δ from it the residual and FLIPD grow by δ²/σ²."""
    score, t = gaussian_score(SUBSPACE[2]), 0.1
    for distance in (0.1, 0.3):
        off = jnp.asarray([0.7, 0.7, 0.0, 0.0, 0.0, distance])
        pixel = pixel_of(off, score, t, K=20_000)
        assert statistic.flipd(pixel) == pytest.approx(2 + (distance / t) ** 2, rel=0.02)
        assert statistic.dsm_residual(pixel) == pytest.approx(2 + (distance / t) ** 2, rel=0.05)


@pytest.mark.parametrize("name", [n for n in STATISTICS if n not in ("normal_bundle", "ring_contrast")])
def test_higher_is_more_anomalous(name):
    """Off the subspace, every statistic of a single score field is higher, by far more than the noise draw moves it."""
    score = gaussian_score(SUBSPACE[2] + 1e-4)
    background = jnp.asarray([0.5, -0.4, 0.0, 0.0, 0.0, 0.0])
    anomaly = background.at[4].set(0.8)
    value = jax.jit(lambda x, seed: STATISTICS[name](pixel_of(x, score, 0.2, K=100, seed=seed)))
    normal, odd = ([float(value(x, seed)) for seed in range(5)] for x in (background, anomaly))
    assert min(odd) > max(normal) + np.std(normal)


def test_flipd_does_not_depend_on_the_scale_of_a_process():
    """The same noise level of a process with and without a scale gives the same dimension."""
    variance, x = jnp.asarray([1.0, 0.5, 2.0, 0.0, 0.0, 0.0]), jnp.asarray([0.3, 0.2, -1.0, 0.0, 0.4, 0.0])
    vp = VP()
    scale, std = vp.marginal(jnp.float32(0.2))
    one = statistic.flipd(pixel_of(x, gaussian_score(variance, vp), 0.2, sde=vp))
    other = statistic.flipd(pixel_of(x, gaussian_score(variance), float(std / scale)))
    assert one == pytest.approx(float(other), rel=1e-4)


def test_time_posterior_is_that_of_the_closed_form():
    variance = jnp.asarray([1.0, 0.5, 0.25, 0.1, 0.02, 0.01])
    for x in (0.3 * jnp.ones(BANDS), jnp.asarray([0.0, 0.0, 0.0, 0.0, 3.0, 3.0])):
        log_noise = np.linspace(np.log(0.05), np.log(SDE.t_max), 2001)
        total = np.asarray(variance) + np.exp(2 * log_noise)[:, None]
        log_density = -0.5 * (np.log(total) + np.asarray(x) ** 2 / total).sum(axis=1)
        weight = np.exp(log_density - log_density.max())
        found = statistic.time_posterior(pixel_of(x, gaussian_score(variance), 0.05, K=BANDS))
        assert found == pytest.approx((weight * log_noise).sum() / weight.sum(), abs=0.1)


def test_negative_log_likelihood_is_that_of_the_closed_form():
    variance, t = jnp.asarray([1.0, 0.5, 0.25, 0.1, 0.02, 0.01]), 0.05
    for x in (0.3 * jnp.ones(BANDS), jnp.asarray([0.0, 0.0, 0.0, 0.0, 1.0, 1.0])):
        total = variance + t**2
        exact = 0.5 * jnp.sum(jnp.log(2 * jnp.pi * total) + x**2 / total)
        found = statistic.negative_log_likelihood(pixel_of(x, gaussian_score(variance), t, K=BANDS))
        assert found == pytest.approx(float(exact), abs=0.2, rel=0.02)  # 32 steps of Heun


def test_random_probes_estimate_the_trace_without_bias():
    """With fewer copies than bands the trace is Hutchinson's; its mean over draws is the exact one."""
    score, x = gaussian_score(jnp.asarray([1.0, 0.5, 0.25, 0.1, 0.02, 0.01])), 0.1 * jnp.ones(BANDS)
    exact = statistic.flipd(pixel_of(x, score, 0.3, K=BANDS))
    noise = jax.random.normal(jax.random.key(0), (300, 3, BANDS))
    pixel = pixel_of(x, score, 0.3, K=3)
    values = np.asarray(jax.vmap(lambda z: statistic.flipd(pixel._replace(noise=z)))(noise), np.float64)
    assert values.std() > 0.1
    assert values.mean() == pytest.approx(float(exact), abs=float(4 * values.std() / 300**0.5))


def test_ring_contrast_is_the_gradient_of_the_density_ratio():
    """The ring says N(m, I), the scene N(0, I): their scores differ by m / (1 + σ²) everywhere."""
    mean, t = jnp.asarray([2.0, 0.0, 0.0, 1.0, 0.0, 0.0]), 0.5
    plain = gaussian_score(jnp.ones(BANDS))

    def ringed(x, t):
        return plain(x - mean, t)

    pixel = pixel_of(jnp.ones(BANDS), ringed, t, K=5, alone=plain)
    assert statistic.ring_contrast(pixel) == pytest.approx(t * 5**0.5 / (1 + t**2), rel=1e-4)
    assert statistic.ring_contrast(pixel_of(jnp.ones(BANDS), plain, t, K=5)) == pytest.approx(0, abs=1e-6)


def test_statistics_work_on_a_process_of_two_functions():
    process = GaussianSDE(jnp.ones_like, jnp.sinh, t_min=0.01, t_max=3.0)
    pixel = pixel_of(jnp.ones(BANDS), gaussian_score(SUBSPACE[2], process), 0.3, sde=process, K=8)
    for name, what in STATISTICS.items():
        assert jnp.isfinite(what(pixel)), name


@pytest.mark.parametrize("name", STATISTICS)
def test_every_statistic_can_be_configured(name):
    values = {"detect.statistic": name, "context.outer": 5, "context.inner": 3}
    assert config.replace(config.Config(), values).detect.statistic == name


def test_what_a_statistic_wants():
    with pytest.raises(ConfigError, match="perturbations must be 4 or more for mean_resultant"):
        config.DetectConfig(statistic="mean_resultant", perturbations=3)
    with pytest.raises(ConfigError, match="no ring to contrast"):
        config.replace(config.Config(), {"detect.statistic": "ring_contrast"})
