"""Samplers and likelihood against a Gaussian and a mixture whose score, flow and density are known."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from scoread_jax import likelihood, ode, sample
from scoread_jax.sde import VP, ExponentialVE, GeometricVE, LinearVE, noise_level, noise_levels, time_of_noise

VARIANCE = np.asarray([1.0, 0.3, 0.05])
PROCESSES = {"linear_ve": LinearVE(0.05, 6.0), "vp": VP(0.5, 8.0, t_min=1e-2), "sub_vp": VP(0.5, 8.0, True, t_min=1e-2)}
# A mixture in one dimension: weights, means, standard deviations.
MIXTURE = ((0.3, -1.5, 0.4), (0.7, 1.0, 0.6))


def gaussian_score(sde, variance=VARIANCE):
    def score(x, t):
        scale, std = sde.marginal(t)
        return -x / (scale**2 * jnp.asarray(variance, jnp.float32) + std**2)

    return score


def mixture_log_density(sde, x, t):
    scale, std = sde.marginal(t)
    parts = [
        jnp.log(weight) + jax.scipy.stats.norm.logpdf(x, scale * mean, jnp.sqrt((scale * width) ** 2 + std**2))
        for weight, mean, width in MIXTURE
    ]
    return jax.scipy.special.logsumexp(jnp.stack(parts), axis=0).sum()


def mixture_cdf(sde, x, t):
    scale, std = (float(value) for value in sde.marginal(jnp.float32(t)))
    widths = [np.hypot(scale * width, std) for _, _, width in MIXTURE]
    return sum(w * stats.norm.cdf(x, scale * m, s) for (w, m, _), s in zip(MIXTURE, widths, strict=True))


def mixture_score(sde):
    return lambda x, t: jax.grad(lambda y: mixture_log_density(sde, y, t))(x)


def std_at(sde, t, variance=VARIANCE):
    scale, std = sde.marginal(jnp.float32(t))
    return np.sqrt(float(scale) ** 2 * variance + float(std) ** 2)


def drawn(sde, count):
    """Draws from the marginal at t_max."""
    return jnp.asarray(std_at(sde, sde.t_max), jnp.float32)[None, :] * jax.random.normal(jax.random.key(1), (count, 3))


def orders(errors):
    """How often halving the step halves the error, for errors of steps that halve."""
    return np.log2(np.asarray(errors[:-1]) / np.asarray(errors[1:]))


@pytest.mark.parametrize("sde", PROCESSES.values(), ids=PROCESSES)
def test_heun_on_the_flow_of_a_gaussian_has_order_two(sde):
    """The flow scales each coordinate by its standard deviation: x(t) ∝ std of the marginal."""
    start = jnp.asarray(std_at(sde, sde.t_max), jnp.float32)
    errors = []
    for steps in (16, 32, 64):
        times = noise_levels(sde, sde.t_min, steps)[::-1]
        found = sample.heun(jax.random.key(0), sde, gaussian_score(sde), start, times)
        errors.append(np.abs(found - std_at(sde, sde.t_min)).max())
    assert orders(errors) == pytest.approx([2, 2], abs=0.4)


def test_heun_on_the_flow_of_a_mixture_has_order_two():
    """In one dimension the flow keeps every quantile."""
    sde = LinearVE(0.05, 6.0)
    starts = np.linspace(-6, 6, 9)
    errors = []
    for steps in (32, 64, 128):
        times = noise_levels(sde, sde.t_min, steps)[::-1]
        one = functools.partial(sample.heun, jax.random.key(0), sde, mixture_score(sde), times=times)
        ends = np.asarray(jax.vmap(one)(jnp.asarray(starts, jnp.float32)[:, None]))[:, 0]
        errors.append(np.abs(mixture_cdf(sde, ends, sde.t_min) - mixture_cdf(sde, starts, sde.t_max)).max())
    assert orders(errors) == pytest.approx([2, 2], abs=0.5)


def test_the_flow_without_its_half_is_not_the_flow():
    """Without the ½ the end has another law: the error does not fall with the step."""
    sde = LinearVE(0.05, 6.0)
    score = gaussian_score(sde)
    start = jnp.asarray(std_at(sde, sde.t_max), jnp.float32)
    times = noise_levels(sde, sde.t_min, 256)[::-1]

    def wrong(x, t):
        return sde.drift(x, t) - sde.diffusion(t) ** 2 * score(x, t)

    right = np.abs(ode.heun(ode.probability_flow(sde, score), start, times) - std_at(sde, sde.t_min)).max()
    assert right < 1e-3
    assert np.abs(ode.heun(wrong, start, times) - std_at(sde, sde.t_min)).max() > 0.3


@pytest.mark.parametrize("sde", PROCESSES.values(), ids=PROCESSES)
def test_adaptive_steps_meet_their_tolerance(sde):
    pytest.importorskip("diffrax")
    start = jnp.asarray(std_at(sde, sde.t_max), jnp.float32)
    times = jnp.asarray([sde.t_max, sde.t_min])
    found = sample.probability_flow(jax.random.key(0), sde, gaussian_score(sde), start, times)
    np.testing.assert_allclose(found, std_at(sde, sde.t_min), rtol=1e-3)


def test_euler_maruyama_has_weak_order_one():
    """The variance of many ends, the start drawn from the exact marginal."""
    sde, count, errors = PROCESSES["vp"], 2**17, []
    start = drawn(sde, count)
    keys = jax.random.split(jax.random.key(2), count)
    for steps in (16, 32, 64):
        times = noise_levels(sde, sde.t_min, steps, rho=2.0)[::-1]
        one = functools.partial(sample.euler_maruyama, sde=sde, score=gaussian_score(sde), times=times)
        ends = jax.jit(jax.vmap(lambda key, x, one=one: one(key, start=x)))(keys, start)
        errors.append(abs(float(ends[:, 0].var()) / std_at(sde, sde.t_min)[0] ** 2 - 1))
    assert errors[0] > 0.03  # far above the 0.004 of the draw
    assert orders(errors) == pytest.approx([1, 1], abs=0.4)


def test_the_correctors_bias_falls_with_the_square_of_its_step():
    """Langevin dynamics of step ε ends with the variance v/(1 − ε/2v), and ε goes as r²."""
    sde, bands, count = LinearVE(0.9, 1.1), 16, 8000
    score = gaussian_score(sde, np.ones(bands))
    times = jnp.linspace(1.0, 0.999, 60)
    std = std_at(sde, 1.0, np.ones(bands))
    start = jnp.asarray(std, jnp.float32)[None, :] * jax.random.normal(jax.random.key(0), (count, bands))
    keys, excess = jax.random.split(jax.random.key(1), count), []
    for snr in (0.3, 0.6):
        one = functools.partial(sample.predictor_corrector, sde=sde, score=score, times=times, snr=snr)
        ends = jax.jit(jax.vmap(lambda key, x, one=one: one(key, start=x)))(keys, start)
        excess.append(float(ends.var()) / float(std[0] ** 2) - 1)
    assert excess[0] > 0
    assert np.log2(excess[1] / excess[0]) == pytest.approx(2, abs=0.5)


@pytest.mark.parametrize("name", sample.SAMPLERS)
def test_samples_of_a_mixture_have_its_law(name):
    """Kolmogorov and Smirnov's distance of 2 000 draws, at a level of 1e-4 and with the samplers' own error."""
    sde = LinearVE(0.02, 20.0)
    sampler, steps = sample.SAMPLERS[name], 500 if name in ("euler_maruyama", "predictor_corrector") else 64
    if name == "probability_flow":
        pytest.importorskip("diffrax")
    draw = jax.jit(lambda key: sample.draw(key, sde, mixture_score(sde), 2000, 1, sampler, steps))
    found = np.asarray(draw(jax.random.key(3)))[:, 0]
    distance = stats.kstest(found, lambda x: sum(w * stats.norm.cdf(x, m, s) for w, m, s in MIXTURE)).statistic
    assert distance < 2.2 / 2000**0.5 + 0.02


def test_churn_keeps_the_law():
    sde, score = LinearVE(0.05, 6.0), gaussian_score(LinearVE(0.05, 6.0))
    times = noise_levels(sde, sde.t_min, 200)[::-1]
    start = jnp.asarray(std_at(sde, sde.t_max), jnp.float32)[None, :] * jax.random.normal(
        jax.random.key(1), (10_000, 3)
    )
    one = functools.partial(sample.heun, sde=sde, score=score, times=times, churn=0.05)
    keys = jax.random.split(jax.random.key(4), 10_000)
    ends = jax.jit(jax.vmap(lambda key, x: one(key, start=x)))(keys, start)
    np.testing.assert_allclose(ends.std(axis=0), std_at(sde, sde.t_min), rtol=0.05)


def test_draws_start_with_the_variance_of_the_data():
    """Where the noise at the end does not drown the data, the draws keep their spread only so."""
    sde = LinearVE(0.05, 1.0)
    known, unknown = (
        sample.draw(jax.random.key(0), sde, gaussian_score(sde), 4000, 3, steps=32, variance=variance).std(axis=0)
        for variance in (jnp.asarray(VARIANCE), 0.0)
    )
    np.testing.assert_allclose(known, VARIANCE**0.5, rtol=0.05)
    assert unknown[0] < 0.8


def test_a_sample_does_not_depend_on_how_many_are_drawn():
    sde = LinearVE(0.05, 6.0)
    three, five = (sample.draw(jax.random.key(0), sde, gaussian_score(sde), n, 3, steps=8) for n in (3, 5))
    np.testing.assert_allclose(five[:3], three, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("sde", PROCESSES.values(), ids=PROCESSES)
def test_likelihood_of_a_gaussian_has_order_two(sde):
    x = jnp.asarray([0.4, -0.9, 0.1])
    exact = stats.norm.logpdf(np.asarray(x), 0, std_at(sde, sde.t_min)).sum()
    end = std_at(sde, sde.t_max)
    errors = []
    for steps in (16, 32, 64):
        found = likelihood.log_likelihood(
            sde, gaussian_score(sde), x, noise_levels(sde, sde.t_min, steps), exact_probes(3), log_normal(end)
        )
        errors.append(abs(float(found) - exact))
    assert orders(errors) == pytest.approx([2, 2], abs=0.6)


@pytest.mark.parametrize(("solver", "steps"), [("heun", 600), ("adaptive", 1)])
def test_likelihood_of_a_mixture(solver, steps):
    if solver == "adaptive":
        pytest.importorskip("diffrax")
    sde, x = LinearVE(0.05, 6.0), jnp.asarray([[-1.5], [0.0], [1.2], [4.0]])
    times = noise_levels(sde, sde.t_min, steps)
    exact = jax.vmap(lambda x: mixture_log_density(sde, x, jnp.float32(sde.t_min)))(x)

    def one(x):
        def prior(x):
            return mixture_log_density(sde, x, jnp.float32(sde.t_max))

        chosen = getattr(ode, solver)
        return likelihood.log_likelihood(sde, mixture_score(sde), x, times, exact_probes(1), prior, chosen)

    found = jax.vmap(one)(x)
    np.testing.assert_allclose(found, exact, atol=0.01)


def test_hutchinsons_trace_has_no_bias():
    """The divergence of a field that is not diagonal, over many draws of few probes."""
    matrix = jax.random.normal(jax.random.key(0), (5, 5))
    value, exact = likelihood.divergence(lambda x: jnp.tanh(matrix @ x), jnp.ones(5), exact_probes(5))
    jacobian = jax.jacfwd(lambda x: jnp.tanh(matrix @ x))(jnp.ones(5))
    assert exact == pytest.approx(float(jnp.trace(jacobian)), rel=1e-5)
    np.testing.assert_allclose(value, jnp.tanh(matrix @ jnp.ones(5)), rtol=1e-6)
    probes = jax.random.rademacher(jax.random.key(1), (4000, 2, 5), jnp.float32)
    estimates = jax.vmap(lambda z: likelihood.divergence(lambda x: jnp.tanh(matrix @ x), jnp.ones(5), z)[1])(probes)
    assert estimates.mean() == pytest.approx(float(exact), abs=float(4 * estimates.std() / 4000**0.5))


@pytest.mark.parametrize("sde", [LinearVE(), ExponentialVE(), GeometricVE(), VP(), VP(sub=True)])
def test_time_of_noise_undoes_noise_level(sde):
    times = jnp.geomspace(sde.t_min, sde.t_max, 23)
    found = jax.vmap(lambda t: time_of_noise(sde, noise_level(sde, t)))(times)
    inner = slice(1, -1)
    levels = jax.vmap(functools.partial(noise_level, sde))
    np.testing.assert_allclose(levels(found)[inner], levels(times)[inner], rtol=1e-4)


def test_noise_levels_are_those_of_edm():
    rho, steps = 7.0, 18
    expected = (0.002 ** (1 / rho) + np.arange(steps + 1) / steps * (80 ** (1 / rho) - 0.002 ** (1 / rho))) ** rho
    np.testing.assert_allclose(noise_levels(LinearVE(0.002, 80.0), 0.002, steps), expected, rtol=1e-4)


def exact_probes(bands):
    return bands**0.5 * jnp.eye(bands)


def log_normal(std):
    return lambda x: jax.scipy.stats.norm.logpdf(x, 0, jnp.asarray(std, jnp.float32)).sum()
