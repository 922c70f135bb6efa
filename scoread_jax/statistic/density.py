"""Statistics of density: how likely the spectrum is, and how much noise it seems to carry."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from scoread_jax.likelihood import log_density_slope, log_likelihood
from scoread_jax.sde import noise_level, noise_levels, time_of_noise
from scoread_jax.statistic.pixel import Perturbed

# Noise levels of the posterior, and steps of the probability flow.
_LEVELS = 24
_STEPS = 32


def time_posterior(pixel: Perturbed) -> jax.Array:
    """The noise that the spectrum seems to carry: the posterior mean of ``ln σ`` under a log-uniform prior.

    The question of diffusion time estimation (Livernoche et al. 2024, arXiv 2305.18593), answered from the score:
    ``log p_σ(x)`` is integrated over ``ln σ`` from its slope ``σ² (∇·s + ‖s‖²)`` (Fokker–Planck), from the noise of
    the time given to the largest of the process.
    """
    lowest = noise_level(pixel.sde, pixel.t)
    highest = noise_level(pixel.sde, jnp.asarray(pixel.sde.t_max, lowest.dtype))
    log_noise = jnp.linspace(jnp.log(lowest), jnp.log(highest), _LEVELS)

    def slope(log_sigma: jax.Array) -> jax.Array:
        t = time_of_noise(pixel.sde, jnp.exp(log_sigma))
        return log_density_slope(pixel.sde, pixel.score_at, pixel.spectrum, t, pixel.probes)

    slopes = jax.lax.map(slope, log_noise)
    rise = 0.5 * (slopes[1:] + slopes[:-1]) * (log_noise[1] - log_noise[0])
    log_density = jnp.concatenate([jnp.zeros(1), jnp.cumsum(rise)])
    return jax.nn.softmax(log_density) @ log_noise


def negative_log_likelihood(pixel: Perturbed) -> jax.Array:
    """``−log p_t(scale · x)`` in nats, by the probability flow from the time given to the end of the process.

    Song et al. 2021 (arXiv 2011.13456), eq. 39; see ``likelihood.log_likelihood``.
    """
    scale, _ = pixel.sde.marginal(pixel.t)
    times = noise_levels(pixel.sde, pixel.t, _STEPS)
    return -log_likelihood(pixel.sde, pixel.score_at, scale * pixel.spectrum, times, pixel.probes)
