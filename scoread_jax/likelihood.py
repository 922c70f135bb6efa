"""Log-likelihood of a score model, and its slope in the noise: everything that needs the score's divergence."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from scoread_jax.ode import ScoreFunction, Solver, heun, probability_flow
from scoread_jax.sde import SDE


def divergence(field: Callable[[jax.Array], jax.Array], x: jax.Array, probes: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A field's value and its divergence, ``mean_k z_kᵀ J z_k`` (Hutchinson 1990; Skilling 1989).

    Args:
        field: ``[bands] -> [bands]``.
        x: where, [bands].
        probes: ``z`` [probes, bands]: random with unit covariance for an estimate without bias, ``√bands`` times the
            unit vectors for the exact value.

    Returns:
        The value [bands] and the divergence [].
    """
    value, derivative = jax.linearize(field, x)
    return value, jnp.mean(jax.vmap(lambda z: z @ derivative(z))(probes))


def log_density_slope(sde: SDE, score: ScoreFunction, x: jax.Array, t: jax.Array, probes: jax.Array) -> jax.Array:
    """``∂ log p_σ(x) / ∂ ln σ = σ² (∇·s_σ + ‖s_σ‖²)``, where p_σ is the data's density under noise σ = std/scale.

    The Fokker–Planck equation of the process without its scale, whose score is ``s_σ(x) = scale · s(scale · x, t)``
    (Kamkari et al. 2024, arXiv 2406.03537, § 3).

    Args:
        sde: the forward process.
        score: the score function.
        x: a spectrum, unscaled, [bands].
        t: a noise time, [].
        probes: see ``divergence``.

    Returns:
        [], from minus the number of bands upwards.
    """
    scale, std = sde.marginal(t)
    value, trace = divergence(lambda y: scale * score(scale * y, t), x, probes)
    return (std / scale) ** 2 * (trace + jnp.sum(value**2))


def log_likelihood(
    sde: SDE,
    score: ScoreFunction,
    x: jax.Array,
    times: jax.Array,
    probes: jax.Array,
    log_prior: Callable[[jax.Array], jax.Array] | None = None,
    solver: Solver = heun,
) -> jax.Array:
    """``log p_t(x) = log p_T(x(T)) + ∫_t^T ∇·(f − ½ g² s) dt`` along the probability flow from x.

    Song et al. 2021 (arXiv 2011.13456), eq. 39.

    Args:
        sde: the forward process.
        score: the score function.
        x: at time ``times[0]``, [bands].
        times: rising, from t to T, [steps + 1]; see ``sde.noise_levels``.
        probes: see ``divergence``; the same all along the path.
        log_prior: the log-density at T; of N(0, std(T)² I) where None.
        solver: see ``scoread_jax.ode``.

    Returns:
        In nats, [].
    """
    flow = probability_flow(sde, score)

    def field(state: tuple[jax.Array, jax.Array], t: jax.Array) -> tuple[jax.Array, jax.Array]:
        return divergence(lambda y: flow(y, t), state[0], probes)

    end, gained = solver(field, (x, jnp.zeros((), x.dtype)), times)
    if log_prior is None:
        return _normal_log_density(end, sde.marginal(times[-1])[1]) + gained
    return log_prior(end) + gained


def _normal_log_density(x: jax.Array, std: jax.Array) -> jax.Array:
    return -0.5 * jnp.sum((x / std) ** 2) - x.shape[0] * (jnp.log(std) + 0.5 * jnp.log(2 * jnp.pi))
