"""What is computed from the score model at one pixel: pure functions, one per idea.

A statistic is ``Perturbed -> scalar``, higher = more anomalous. What a statistic does not use is not computed: the
compiler removes the perturbations of ``clean_norm`` and the clean pass of ``unit_sum``.
"""

from scoread_jax.statistic.density import negative_log_likelihood, time_posterior
from scoread_jax.statistic.dimension import dsm_residual, flipd, normal_bundle
from scoread_jax.statistic.direction import clean_norm, mean_resultant, mean_score, ring_contrast, unit_sum
from scoread_jax.statistic.pixel import Perturbed, Statistic

__all__ = [
    "STATISTICS",
    "Perturbed",
    "Statistic",
    "clean_norm",
    "dsm_residual",
    "flipd",
    "mean_resultant",
    "mean_score",
    "negative_log_likelihood",
    "normal_bundle",
    "ring_contrast",
    "time_posterior",
    "unit_sum",
]

STATISTICS: dict[str, Statistic] = {
    "unit_sum": unit_sum,
    "mean_resultant": mean_resultant,
    "mean_score": mean_score,
    "clean_norm": clean_norm,
    "ring_contrast": ring_contrast,
    "dsm_residual": dsm_residual,
    "normal_bundle": normal_bundle,
    "flipd": flipd,
    "time_posterior": time_posterior,
    "negative_log_likelihood": negative_log_likelihood,
}
