"""Statistics of local intrinsic dimension: of how many ways the data vary around a pixel.

On a manifold of dimension d the score under small noise sees only the D − d directions that lead off it; a pixel that
no manifold holds seems to vary in all of them. So the dimension is higher where a pixel is more anomalous.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from scoread_jax.likelihood import log_density_slope
from scoread_jax.statistic.pixel import Perturbed


def dsm_residual(pixel: Perturbed) -> jax.Array:
    """``mean_k ‖std · s_k + z_k‖²``: the dimension, as the noise that denoising cannot tell from data.

    For the true score its expectation is at least the dimension, and tends to it with the noise (Yeats et al. 2025,
    arXiv 2510.12975). The pixel's own loss, and the score of SPR (Shin et al. 2023, ICCV).
    """
    return jnp.mean(jnp.sum((pixel.std * pixel.score + pixel.noise) ** 2, axis=1))


def normal_bundle(pixel: Perturbed) -> jax.Array:
    """Bands less the rank of the K scores: what the normal space leaves of the D dimensions.

    The rank lies at the widest gap of their singular values (Stanczuk et al. 2024, arXiv 2212.12611, alg. 1, who take
    K = 4 D). Added to this whole number is the ratio across the gap, in [0, 1), which orders pixels of one
    dimension. Wants K > D: fewer scores than bands cannot span the normal space.
    """
    square = jnp.linalg.eigvalsh(pixel.score.T @ pixel.score)[::-1]
    values = jnp.sqrt(jnp.maximum(square, 0.0))
    rank = jnp.argmax(values[:-1] - values[1:])
    ratio = values[rank + 1] / jnp.where(values[rank] > 0, values[rank], 1.0)
    return values.shape[0] - (rank + 1) + ratio


def flipd(pixel: Perturbed) -> jax.Array:
    """``D + σ² (∇·s + ‖s‖²)`` at the clean spectrum, σ = std/scale: how the density spreads as the noise grows.

    FLIPD (Kamkari et al. 2024, arXiv 2406.03537, eq. 10): ``∂ log p_σ(x) / ∂ ln σ`` is minus the codimension where x
    lies on the manifold, and grows as ``‖x − manifold‖²/σ²`` where it does not.
    """
    return pixel.spectrum.shape[0] + log_density_slope(pixel.sde, pixel.score_at, pixel.spectrum, pixel.t, pixel.probes)
