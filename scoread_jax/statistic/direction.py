"""Statistics of length and direction: where, and how unanimously, the scores of a pixel's copies point."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from scoread_jax.statistic.pixel import Perturbed


def unit_sum(pixel: Perturbed) -> jax.Array:
    """``‖Σ_k s_k / ‖s_k‖‖``, in [0, K]: the published score (arXiv 2601.12379).

    On a manifold the unit scores point away from each copy's own noise and cancel to about √K; off it they agree and
    add up to as much as K. A score of norm zero has no direction and counts nothing.
    """
    return jnp.linalg.norm(_total(_directions(pixel.score)))


def mean_resultant(pixel: Perturbed) -> jax.Array:
    """``‖E u‖²`` of the unit scores ``u = s/‖s‖``, estimated without bias: ``unit_sum`` on a scale free of K.

    The squared mean resultant length of directional statistics: 0 on a manifold, whatever K, and 1 where all scores
    agree. From ``E‖Σ v‖² = Σ E‖v‖² + P(P − 1) ‖E v‖²`` for the means ``v`` of P = ⌊K/2⌋ consecutive pairs, which are
    independent for antithetic noise too (Mardia & Jupp 2000, Directional Statistics, § 9.2). K ≥ 4; single estimates
    may fall below 0.
    """
    pairs = pixel.score.shape[0] // 2
    mean_of_pair = _directions(pixel.score[: 2 * pairs]).reshape(pairs, 2, -1).mean(axis=1)
    total = jnp.sum(_total(mean_of_pair) ** 2)
    return (total - jnp.sum(mean_of_pair**2)) / (pairs * (pairs - 1))


def mean_score(pixel: Perturbed) -> jax.Array:
    """``‖mean_k s_k‖ ≥ 0``: the norm of the score of the twice-smoothed density."""
    return jnp.linalg.norm(_total(pixel.score) / len(pixel.score))


def clean_norm(pixel: Perturbed) -> jax.Array:
    """``‖s(x, t)‖ ≥ 0`` at the unperturbed spectrum: one evaluation a pixel.

    Over several times these are the components of MSMA's vector (Mahmood et al. 2021, arXiv 2010.13132), to be fused
    by a Gaussian mixture; at one time the score of K-DSM (arXiv 2605.06955).
    """
    return jnp.linalg.norm(pixel.clean_score)


def ring_contrast(pixel: Perturbed) -> jax.Array:
    """``std · ‖mean_k (s(x_k | ring) − s(x_k))‖ ≥ 0``: how far its surroundings pull the pixel, beyond the scene.

    The difference is ``∇ log p(ring | x_k)``, the direction of classifier-free guidance (Ho & Salimans 2022,
    arXiv 2207.12598, eq. 6): what the spectrum would have to change by to fit its ring. Wants a conditional network
    that also learned to do without its ring (``train.ring_dropout``); 0 for an unconditional one.
    """
    scale, std = pixel.sde.marginal(pixel.t)
    copies = scale * pixel.spectrum[None, :] + std * pixel.noise
    alone = jax.vmap(lambda x: pixel.score_alone(x, pixel.t))(copies)
    return std * jnp.linalg.norm(_total(pixel.score - alone) / len(alone))


def _total(copies: jax.Array) -> jax.Array:
    """The sum over [K, …], by halves.

    On CPUs XLA's own sum takes several times as long where a chunk is a single pixel, and the last bit of a product of
    many small factors depends on a pixel's place among them.
    """
    while len(copies) > 1:
        half = len(copies) // 2
        copies = jnp.concatenate([copies[:half] + copies[half : 2 * half], copies[2 * half :]])
    return copies[0]


def _directions(score: jax.Array) -> jax.Array:
    """``s / ‖s‖``; 0 where the norm is 0."""
    norm = jnp.linalg.norm(score, axis=-1, keepdims=True)
    return score * jnp.where(norm > 0, 1 / jnp.where(norm > 0, norm, 1.0), 0.0)
