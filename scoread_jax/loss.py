"""Denoising score matching: what a score model is trained on.

Functions that return functions are cached by their arguments, so that the same recipe gives the same function object
and nothing is compiled twice.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp

from scoread_jax.network import Apply, AtTime, Variables, nothing_of_time
from scoread_jax.parallel import ONE_DEVICE, Batches
from scoread_jax.sde import SDE, noise_level, time_of_noise

_LOG_NORMAL_MEAN, _LOG_NORMAL_STD = -1.2 + math.log(2), 1.2
_MIN_SNR_GAMMA = 5.0

TimeSampler = Callable[[jax.Array, SDE, int], jax.Array]
"""``(key, sde, count) -> times [count]`` in [t_min, t_max]."""

Weighting = Callable[[SDE, jax.Array], jax.Array]
"""``(sde, t []) -> []``: the factor in front of ``‖std · s + z‖²``."""


class Loss(Protocol):
    """``(variables, key, x [part, bands], rings [part, ring, bands] or None, batches, average) -> []``: of a batch.

    The part is the whole batch where ``batches`` does not cut it. ``average`` is the moving average of the variables,
    for a teacher; None where there is none.
    """

    def __call__(  # noqa: D102
        self,
        variables: Variables,
        key: jax.Array,
        x: jax.Array,
        rings: jax.Array | None,
        batches: Batches = ONE_DEVICE,
        average: Variables | None = None,
    ) -> jax.Array: ...


class Teacher(NamedTuple):
    """Which spectra of a batch train, by the judgement of the moving average of the network.

    Attributes:
        keep: fraction of the batch, in (0, 1): those with the shortest score.
        t: the noise time of that score.
    """

    keep: float
    t: float


def uniform_times(key: jax.Array, sde: SDE, count: int) -> jax.Array:
    """Independent times, uniform in [t_min, t_max], as published; [count]."""
    return jax.random.uniform(key, (count,), minval=sde.t_min, maxval=sde.t_max)


def stratified_times(key: jax.Array, sde: SDE, count: int) -> jax.Array:
    """One uniform time in each of ``count`` equal parts of [t_min, t_max]: the same mean loss, less variance."""
    return sde.t_min + (sde.t_max - sde.t_min) * _positions(key, count)


def log_uniform_times(key: jax.Array, sde: SDE, count: int) -> jax.Array:
    """Stratified times, uniform in their logarithm over [t_min, t_max]; [count]."""
    return sde.t_min * (sde.t_max / sde.t_min) ** _positions(key, count)


def importance_times(key: jax.Array, sde: SDE, count: int) -> jax.Array:
    """Stratified times of density ``∝ g²/std²``: with the weighting ``std``, likelihood weighting of less variance.

    Song et al. 2021 (arXiv 2101.09258), § 5.1. Since ``g²/std² = d ln σ²/dt`` for every process, σ = std/scale, this
    is the law of times whose noise is uniform in its logarithm, and needs no table of the process; [count].
    """
    low, high = _log_noise_range(sde)
    return time_of_noise(sde, jnp.exp(low + (high - low) * _positions(key, count)))


def log_normal_times(key: jax.Array, sde: SDE, count: int) -> jax.Array:
    """Stratified times whose noise σ = std/scale is log-normal, within the range of the process; [count].

    Karras et al. 2022 (arXiv 2206.00364), table 1: ``ln(σ/σ_data) ~ N(−1.2 − ln ½, 1.2²)``, here for data of unit
    variance.
    """
    low, high = (jax.scipy.special.ndtr((end - _LOG_NORMAL_MEAN) / _LOG_NORMAL_STD) for end in _log_noise_range(sde))
    quantile = jax.scipy.special.ndtri(low + (high - low) * _positions(key, count))
    return time_of_noise(sde, jnp.exp(_LOG_NORMAL_MEAN + _LOG_NORMAL_STD * quantile))


def std_weighting(sde: SDE, t: jax.Array) -> jax.Array:
    """``λ(t) = std²``, as published: every time counts ``‖std · s + z‖²``."""
    del sde
    return jnp.ones_like(t)


def likelihood_weighting(sde: SDE, t: jax.Array) -> jax.Array:
    """``λ(t) = g²``, so the factor ``g²/std²``: the loss bounds the negative log-likelihood.

    Song et al. 2021 (arXiv 2101.09258), theorem 1. It grows without bound as t falls; ``importance_times`` with the
    weighting ``std`` has the same mean, up to a factor, and less variance.
    """
    _, std = sde.marginal(t)
    return (sde.diffusion(t) / std) ** 2


def edm_weighting(sde: SDE, t: jax.Array) -> jax.Array:
    """``1 + σ²``: Karras et al.'s ``(σ² + σ_data²)/(σ σ_data)² · ‖D − x‖²`` for data of unit variance, σ = std/scale.

    arXiv 2206.00364, table 1, with ``D − x = σ (std · s + z)``.
    """
    return 1 + noise_level(sde, t) ** 2


def min_snr_weighting(sde: SDE, t: jax.Array) -> jax.Array:
    """``min(1, γ σ²)``, γ = 5: ``min(SNR, γ) ‖D − x‖²`` with ``SNR = 1/σ²``, σ = std/scale, for data of unit variance.

    Hang et al. 2023 (arXiv 2303.09556), eq. 6: times of little noise, all alike, do not crowd out the others.
    """
    return jnp.minimum(1.0, _MIN_SNR_GAMMA * noise_level(sde, t) ** 2)


TIME_SAMPLERS: dict[str, TimeSampler] = {
    "uniform": uniform_times,
    "stratified": stratified_times,
    "log_uniform": log_uniform_times,
    "importance": importance_times,
    "log_normal": log_normal_times,
}
WEIGHTINGS: dict[str, Weighting] = {
    "std": std_weighting,
    "edm": edm_weighting,
    "likelihood": likelihood_weighting,
    "min_snr": min_snr_weighting,
}


def example_loss(
    sde: SDE,
    score: Apply,
    variables: Variables,
    x: jax.Array,
    t: jax.Array,
    z: jax.Array,
    ring: jax.Array | None,
) -> jax.Array:
    """``‖std(t) · s(scale(t) x + std(t) z, t) + z‖²``, summed over bands (Vincent 2011; ScoreAD, arXiv 2601.12379).

    Args:
        sde: the forward process.
        score: the score function, per spectrum.
        variables: of the network.
        x: clean spectrum, [bands].
        t: time, [].
        z: standard normal noise, [bands].
        ring: the spectrum's clean neighbours [ring, bands], or None.

    Returns:
        The loss of one spectrum at one time, [].
    """
    scale, std = sde.marginal(t)
    return jnp.sum((std * score(variables, scale * x + std * z, t, ring) + z) ** 2)


@functools.cache
def denoising_score_matching(
    sde: SDE,
    score: Apply,
    weighting: Weighting = std_weighting,
    time_sampler: TimeSampler = uniform_times,
    retain: float = 1.0,
    ring_dropout: float = 0.0,
    teacher: Teacher | None = None,
    spectra_per_time: int = 1,
    at_time: AtTime = nothing_of_time,
) -> Loss:
    """The training loss of a batch: the mean over its spectra of ``weighting(t) · ‖std · s + z‖²``.

    Args:
        sde: the forward process.
        score: the score function, per spectrum.
        weighting: the factor of each time.
        time_sampler: how times are drawn.
        retain: fraction of the batch, in (0, 1], whose losses count: the lowest. Below 1 the loss is trimmed, so that
            the spectra the model explains least (among them anomalies) do not train it.
        ring_dropout: fraction of the spectra, in [0, 1), that train without their ring (all zeros instead), so that the
            network also learns the score of the scene (classifier-free guidance, arXiv 2207.12598).
        teacher: leaves out the spectra whose clean score is longest by the moving average of the network (K-DSM,
            Livernoche et al. 2026, arXiv 2605.06955); with ``retain`` = 1; None: all train.
        spectra_per_time: how many spectra of a batch share a time, fewer at the last one where it is no divisor. The
            mean loss is the same, and what depends on the time alone is computed once for all of them.
        at_time: of the network, see ``Network``.

    Returns:
        ``loss(variables, key, x [batch, bands], rings, batches, average) -> []``.
    """

    def loss(
        variables: Variables,
        key: jax.Array,
        x: jax.Array,
        rings: jax.Array | None,
        batches: Batches = ONE_DEVICE,
        average: Variables | None = None,
    ) -> jax.Array:
        batch = batches.whole(x.shape[0])
        times_key, noise_key, ring_key = jax.random.split(key, 3)
        if ring_dropout and rings is not None:
            rings = rings * batches.part(jax.random.bernoulli(ring_key, 1 - ring_dropout, (batch, 1, 1)))
        times = time_sampler(times_key, sde, -(-batch // spectra_per_time))
        z = batches.part(jax.random.normal(noise_key, (batch, *x.shape[1:]), x.dtype))
        if spectra_per_time == 1:
            times = batches.part(times)
        found = jax.vmap(at_time, (None, 0))(variables, times)
        if spectra_per_time > 1:

            def for_each(leaf: jax.Array) -> jax.Array:
                return batches.part(jnp.repeat(leaf, spectra_per_time, axis=0)[:batch])

            times, found = jax.tree.map(for_each, (times, found))

        def of_one(x: jax.Array, t: jax.Array, z: jax.Array, ring: jax.Array | None, found: Variables) -> jax.Array:
            return weighting(sde, t) * example_loss(sde, score, variables | found, x, t, z, ring)

        losses = jax.vmap(of_one, (0, 0, 0, None if rings is None else 0, 0))(x, times, z, rings, found)
        if teacher is not None and average is not None:
            losses = losses * _taught(score, teacher, average, x, rings, batches)
        kept = max(1, round(retain * batch))
        if kept < batch:
            losses = jnp.sort(batches.gather(losses))[:kept]
        return jnp.mean(losses)

    return loss


def _taught(
    score: Apply, teacher: Teacher, average: Variables, x: jax.Array, rings: jax.Array | None, batches: Batches
) -> jax.Array:
    """Weights of mean one over the batch: equal for the spectra of the shortest clean scores, 0 for the others."""

    def length(x: jax.Array, ring: jax.Array | None) -> jax.Array:
        return jnp.linalg.norm(score(average, x, jnp.float32(teacher.t), ring))

    lengths = jax.vmap(length, (0, None if rings is None else 0))(x, rings)
    of_batch = batches.gather(lengths)
    kept = max(1, round(teacher.keep * len(of_batch)))
    return jnp.where(lengths <= jnp.sort(of_batch)[kept - 1], len(of_batch) / kept, 0.0)


def _positions(key: jax.Array, count: int) -> jax.Array:
    """One uniform number in each of ``count`` equal parts of [0, 1]."""
    return (jnp.arange(count) + jax.random.uniform(key, (count,))) / count


def _log_noise_range(sde: SDE) -> tuple[jax.Array, jax.Array]:
    low, high = (jnp.log(noise_level(sde, jnp.float32(end))) for end in (sde.t_min, sde.t_max))
    return low, high
