"""Samplers: from noise back to spectra.

A sampler is ``(key, sde, score, start, times) -> [bands]`` for one spectrum: it goes from ``start`` at ``times[0]``
down to ``times[-1]``. ``draw`` starts many from the prior and takes the last noise off.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from scoread_jax import ode
from scoread_jax.ode import ScoreFunction
from scoread_jax.sde import SDE, noise_levels

Sampler = Callable[[jax.Array, SDE, ScoreFunction, jax.Array, jax.Array], jax.Array]
"""``(key, sde, score, start [bands], times [steps + 1], falling) -> [bands]``."""

_SNR = 0.16


def euler_maruyama(key: jax.Array, sde: SDE, score: ScoreFunction, start: jax.Array, times: jax.Array) -> jax.Array:
    """Euler–Maruyama on the reverse process ``dx = (f − g² s) dt + g dw̄``; weak order 1.

    Anderson 1982; Song et al. 2021 (arXiv 2011.13456), eq. 6.

    Args:
        key: of the noise.
        sde: the forward process.
        score: the score function.
        start: at ``times[0]``, [bands].
        times: falling, [steps + 1].

    Returns:
        At ``times[-1]``, [bands].
    """

    def step(x: jax.Array, span: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        number, t, after = span
        return _reverse_step(jax.random.fold_in(key, number), sde, score, x, t, after), None

    return jax.lax.scan(step, start, (jnp.arange(len(times) - 1), times[:-1], times[1:]))[0]


def predictor_corrector(
    key: jax.Array, sde: SDE, score: ScoreFunction, start: jax.Array, times: jax.Array, snr: float = _SNR
) -> jax.Array:
    """Euler–Maruyama steps, each followed by a step of Langevin dynamics at the new noise level.

    The Langevin step is ``x + ε s + √(2ε) z`` with ``ε = 2 (r · std)²``: that of Song et al. 2021 (arXiv 2011.13456,
    alg. 4), their ``‖z‖/‖s‖`` at its value for pure noise. The norms of a single spectrum would bias its law.

    Args:
        key: of the noise.
        sde: the forward process.
        score: the score function.
        start: at ``times[0]``, [bands].
        times: falling, [steps + 1].
        snr: r, signal-to-noise ratio of the Langevin step, ≥ 0; 0 is Euler–Maruyama.

    Returns:
        At ``times[-1]``, [bands].
    """

    def step(x: jax.Array, span: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        number, t, after = span
        predict_key, correct_key = jax.random.split(jax.random.fold_in(key, number))
        x = _reverse_step(predict_key, sde, score, x, t, after)
        z, s = jax.random.normal(correct_key, x.shape, x.dtype), score(x, after)
        size = 2 * (snr * sde.marginal(after)[1]) ** 2
        return x + size * s + jnp.sqrt(2 * size) * z, None

    return jax.lax.scan(step, start, (jnp.arange(len(times) - 1), times[:-1], times[1:]))[0]


def heun(
    key: jax.Array, sde: SDE, score: ScoreFunction, start: jax.Array, times: jax.Array, churn: float = 0.0
) -> jax.Array:
    """Heun's method on the probability flow; order 2. With ``churn`` noise is added before each step.

    Karras et al. 2022 (arXiv 2206.00364), algs. 1 and 2 (their γ is ``churn``, at every step).

    Args:
        key: of the churn's noise.
        sde: the forward process.
        score: the score function.
        start: at ``times[0]``, [bands].
        times: falling, [steps + 1].
        churn: by which fraction time is put back before each step, ≥ 0; 0: deterministic.

    Returns:
        At ``times[-1]``, [bands].
    """
    flow = ode.probability_flow(sde, score)

    def step(x: jax.Array, span: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        number, t, after = span
        if churn:
            back = jnp.minimum((1 + churn) * t, sde.t_max)
            (scale, std), (scale_back, std_back) = sde.marginal(t), sde.marginal(back)
            ratio = scale_back / scale
            z = jax.random.normal(jax.random.fold_in(key, number), x.shape, x.dtype)
            x, t = ratio * x + jnp.sqrt(jnp.maximum(std_back**2 - (ratio * std) ** 2, 0.0)) * z, back
        return ode.heun(flow, x, jnp.stack([t, after])), None

    return jax.lax.scan(step, start, (jnp.arange(len(times) - 1), times[:-1], times[1:]))[0]


def probability_flow(key: jax.Array, sde: SDE, score: ScoreFunction, start: jax.Array, times: jax.Array) -> jax.Array:
    """The probability flow with steps of the solver's own choice (``ode.adaptive``); ``key`` is not used.

    Song et al. 2021 (arXiv 2011.13456), eq. 13. Arguments as for ``heun``; of
    ``times`` only the first and the last count.
    """
    del key
    return ode.adaptive(ode.probability_flow(sde, score), start, times)


SAMPLERS: dict[str, Sampler] = {
    "heun": heun,
    "euler_maruyama": euler_maruyama,
    "predictor_corrector": predictor_corrector,
    "probability_flow": probability_flow,
}


def denoised(sde: SDE, score: ScoreFunction, x: jax.Array, t: jax.Array) -> jax.Array:
    """``E[x(0) | x(t)] = (x + std² s(x, t)) / scale``: Tweedie's formula (Robbins 1956; Efron 2011); [bands]."""
    scale, std = sde.marginal(t)
    return (x + std**2 * score(x, t)) / scale


def draw(
    key: jax.Array,
    sde: SDE,
    score: ScoreFunction,
    count: int,
    bands: int,
    sampler: Sampler = heun,
    steps: int = 64,
    variance: jax.Array | float = 0.0,
) -> jax.Array:
    """Draw spectra from the score model: from ``N(0, scale² v + std²)`` at t_max down to t_min, then denoised.

    Args:
        key: of everything; sample i does not depend on ``count``.
        sde: the forward process.
        score: the score function.
        count: how many.
        bands: length of a spectrum.
        sampler: one of ``SAMPLERS``.
        steps: noise levels, spaced as ``sde.noise_levels`` does.
        variance: v of the data, [bands] or one for all; 0 where the noise at t_max drowns them.

    Returns:
        [count, bands], unscaled.
    """
    times = noise_levels(sde, sde.t_min, steps)[::-1]
    scale, std = sde.marginal(times[0])
    start_std = jnp.sqrt(scale**2 * variance + std**2)

    def one(number: jax.Array) -> jax.Array:
        start_key, path_key = jax.random.split(jax.random.fold_in(key, number))
        start = start_std * jax.random.normal(start_key, (bands,))
        return denoised(sde, score, sampler(path_key, sde, score, start, times), times[-1])

    return jax.lax.map(one, jnp.arange(count), batch_size=min(count, 256))


def _reverse_step(
    key: jax.Array, sde: SDE, score: ScoreFunction, x: jax.Array, t: jax.Array, after: jax.Array
) -> jax.Array:
    g, back = sde.diffusion(t), t - after
    z = jax.random.normal(key, x.shape, x.dtype)
    return x - (sde.drift(x, t) - g**2 * score(x, t)) * back + g * jnp.sqrt(back) * z
