"""Forward processes: what is written out equals what is derived, and what is claimed equals what is simulated."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoread_jax.errors import ConfigError
from scoread_jax.sde import SDE, VP, ExponentialVE, GaussianSDE, GeometricVE, LinearVE, derived_diffusion, derived_drift

TIMES = jnp.asarray([1e-3, 0.01, 0.05, 0.3, 0.7, 1.0])


def one(t):
    return jnp.ones_like(t)


def vp_scale(t):
    return jnp.exp(-0.25 * t**2 * (20 - 0.1) - 0.5 * t * 0.1)


def vp_std(t):
    return jnp.sqrt(-jnp.expm1(-0.5 * t**2 * (20 - 0.1) - t * 0.1))


def sub_vp_std(t):
    return -jnp.expm1(-0.5 * t**2 * (20 - 0.1) - t * 0.1)


def edm_std(t):
    return t


@pytest.mark.parametrize(
    "sde", [ExponentialVE(), ExponentialVE(2.0), LinearVE(), GeometricVE(), VP(), VP(sub=True), VP(1.0, 1.0)]
)
def test_written_out_equals_derived(sde):
    assert isinstance(sde, SDE)
    x = jnp.arange(4.0)

    def scale(t):
        return sde.marginal(t)[0]

    for t in TIMES:
        derived = derived_diffusion(scale, lambda u: sde.marginal(u)[1], t)
        np.testing.assert_allclose(sde.diffusion(t), derived, rtol=1e-3)
        np.testing.assert_allclose(sde.drift(x, t), derived_drift(scale, x, t), rtol=1e-4, atol=1e-6)
    assert sde.prior_std == pytest.approx(float(sde.marginal(jnp.float32(sde.t_max))[1]))


def test_exponential_ve_std():
    # the values that ScoreAD's σ = 5 gives
    expected = {1e-5: 0.00316, 0.01: 0.1008, 0.05: 0.2329, 0.3: 0.7109, 1.0: 2.7306}
    for t, std in expected.items():
        assert ExponentialVE().marginal(jnp.float32(t))[1] == pytest.approx(std, abs=5.1e-5)
    assert ExponentialVE().prior_std == pytest.approx(2.7306, abs=5e-5)


@given(st.floats(1.01, 50), st.floats(1e-5, 1))
def test_std_keeps_its_digits_at_small_times(sigma, t):
    exact = np.sqrt(np.expm1(2 * np.float64(np.float32(t)) * np.log(sigma)) / (2 * np.log(sigma)))
    np.testing.assert_allclose(ExponentialVE(sigma).marginal(jnp.float32(t))[1], exact, rtol=1e-5)


@pytest.mark.parametrize(
    ("scale", "std", "drift", "diffusion"),
    [
        # Song et al. 2021 (arXiv 2011.13456), eqs. 32–34 with β from 0.1 to 20
        (vp_scale, vp_std, lambda x, b, t: -0.5 * b * x, lambda b, t: jnp.sqrt(b)),
        (
            vp_scale,
            sub_vp_std,
            lambda x, b, t: -0.5 * b * x,
            lambda b, t: jnp.sqrt(b * -jnp.expm1(-2 * 0.1 * t - (20 - 0.1) * t**2)),
        ),
        # Karras et al. 2022 (arXiv 2206.00364): σ(t) = t
        (one, edm_std, lambda x, b, t: 0 * x, lambda b, t: jnp.sqrt(2 * t)),
    ],
    ids=["vp", "sub-vp", "edm"],
)
def test_two_functions_make_the_named_processes(scale, std, drift, diffusion):
    sde = GaussianSDE(scale, std)
    assert isinstance(sde, SDE)
    x = jnp.asarray([0.5, -2.0])
    for t in TIMES:
        beta = 0.1 + t * (20 - 0.1)
        np.testing.assert_allclose(sde.drift(x, t), drift(x, beta, t), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(sde.diffusion(t), diffusion(beta, t), rtol=1e-3)


@pytest.mark.parametrize(
    "sde",
    [ExponentialVE(), LinearVE(), GaussianSDE(vp_scale, vp_std), VP(), VP(sub=True)],
    ids=["ve", "edm", "two functions", "vp", "sub-vp"],
)
def test_marginal_equals_simulation(sde):
    """Euler–Maruyama paths of dx = f dt + g dw end with the claimed mean and standard deviation."""
    paths, steps, x0, end = 20_000, 400, 1.5, 0.8
    step = end / steps

    def advance(x, i):
        t = (i + 0.5) * step
        noise = jax.random.normal(jax.random.fold_in(jax.random.key(7), i), x.shape)
        return x + sde.drift(x, t) * step + sde.diffusion(t) * jnp.sqrt(step) * noise, None

    x, _ = jax.lax.scan(advance, jnp.full(paths, x0), jnp.arange(steps))
    scale, std = sde.marginal(jnp.float32(end))
    # five standard errors, and one percent for the discretisation
    assert abs(x.mean() - scale * x0) < 5 * std / paths**0.5 + 0.01 * scale
    assert x.std() == pytest.approx(float(std), rel=5 / (2 * paths) ** 0.5 + 0.01)


def test_processes_are_static_arguments_that_do_not_retrace():
    traces = []

    def marginal(sde, t):
        traces.append(sde)
        return sde.marginal(t)

    jitted = jax.jit(marginal, static_argnames="sde")
    for _ in range(3):
        jitted(ExponentialVE(5.0), jnp.float32(0.1))
        jitted(GaussianSDE(vp_scale, vp_std), jnp.float32(0.1))
    assert len(traces) == 2


@pytest.mark.parametrize(
    "make",
    [
        lambda: ExponentialVE(sigma=1.0),
        lambda: ExponentialVE(sigma=float("nan")),
        lambda: ExponentialVE(t_min=0.0),
        lambda: GaussianSDE(one, edm_std, t_min=2.0),
        lambda: GeometricVE(2.0, 1.0),
        lambda: VP(beta_min=0.0),
    ],
)
def test_impossible_processes(make):
    with pytest.raises(ConfigError, match="found"):
        make()
