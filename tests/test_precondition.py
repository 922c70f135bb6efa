"""From raw outputs to scores, and the small network."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoread_jax import loss, precondition
from scoread_jax.errors import ConfigError
from scoread_jax.network.mlp import mlp
from scoread_jax.sde import GaussianSDE, LinearVE

VARIANCE = jnp.asarray([0.5, 2.0, 0.01])


def nothing(variables, x, t, ring):
    return jnp.zeros_like(x)


def vp_scale(t):
    return jnp.exp(-5 * t**2)


def vp_std(t):
    return jnp.sqrt(-jnp.expm1(-10 * t**2))


@pytest.mark.parametrize("sde", [LinearVE(), GaussianSDE(vp_scale, vp_std)], ids=["edm", "vp"])
@pytest.mark.parametrize("t", [0.06, 0.3, 0.9])
def test_wiener_without_a_network_is_the_score_of_a_gaussian(sde, t):
    x, t = jnp.asarray([1.0, -2.0, 0.3]), jnp.float32(t)
    scale, std = sde.marginal(t)

    def log_density(x):
        return -0.5 * jnp.sum(x**2 / (scale**2 * VARIANCE + std**2))

    variables = {"params": {}, "constants": {"variance": VARIANCE}}
    found = precondition.wiener(sde, nothing)(variables, x, t, None)
    np.testing.assert_allclose(found, jax.grad(log_density)(x), rtol=1e-4)


def test_edm_weighting_is_the_error_of_the_denoiser():
    """(1 + σ²)/σ² · ‖D − x₀‖² for data of unit variance, whatever the score."""
    sde, t = LinearVE(), jnp.float32(0.7)
    x, z = jax.random.normal(jax.random.key(0), (2, 4))
    variables = {"params": {}, "constants": {}}

    def score(variables, x, t, ring):
        return jnp.sin(x) * t

    noisy = x + t * z
    denoised = noisy + t**2 * score(variables, noisy, t, None)
    expected = (1 + t**2) / t**2 * jnp.sum((denoised - x) ** 2)
    found = loss.edm_weighting(sde, t) * loss.example_loss(sde, score, variables, x, t, z, None)
    assert found == pytest.approx(float(expected), rel=1e-5)


def test_mlp_starts_small_and_sees_time_and_ring():
    network = mlp(5, conditional=True, hidden=16, blocks=2, embedding=8)
    variables = network.init(jax.random.key(0))
    x, ring = jnp.ones(5), jnp.zeros((3, 5))
    output = network.apply(variables, x, jnp.float32(0.5), ring)
    assert output.shape == (5,)
    assert 0 < jnp.std(output) < 0.5
    assert not np.allclose(output, network.apply(variables, x, jnp.float32(2.0), ring), rtol=1e-3)
    assert not np.allclose(output, network.apply(variables, x, jnp.float32(0.5), ring + 0.5), rtol=1e-3)
    with pytest.raises(ConfigError, match="give it a context"):
        network.apply(variables, x, jnp.float32(0.5), None)


@pytest.mark.parametrize("settings", [{"embedding": 3}, {"blocks": 0}, {"hidden": 0}])
def test_impossible_sizes(settings):
    with pytest.raises(ConfigError, match="found"):
        mlp(5, **settings)
