"""Denoising score matching: what a score model is trained on.

Functions that return functions are cached by their arguments, so that the same recipe gives the same function object
and nothing is compiled twice.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Protocol

import jax
import jax.numpy as jnp

from scoread_jax.network import Apply, Variables
from scoread_jax.parallel import ONE_DEVICE, Batches
from scoread_jax.sde import SDE

TimeSampler = Callable[[jax.Array, SDE, int], jax.Array]
"""``(key, sde, count) -> times [count]`` in [t_min, t_max]."""

Weighting = Callable[[SDE, jax.Array], jax.Array]
"""``(sde, t []) -> []``: the factor in front of ``‖std · s + z‖²``."""


class Loss(Protocol):
    """``(variables, key, x [part, bands], rings [part, ring, bands] or None, batches) -> []``: of a batch.

    The part is the whole batch where ``batches`` does not cut it.
    """

    def __call__(  # noqa: D102
        self,
        variables: Variables,
        key: jax.Array,
        x: jax.Array,
        rings: jax.Array | None,
        batches: Batches = ONE_DEVICE,
    ) -> jax.Array: ...


def uniform_times(key: jax.Array, sde: SDE, count: int) -> jax.Array:
    """Independent times, uniform in [t_min, t_max], as published; [count]."""
    return jax.random.uniform(key, (count,), minval=sde.t_min, maxval=sde.t_max)


def stratified_times(key: jax.Array, sde: SDE, count: int) -> jax.Array:
    """One uniform time in each of ``count`` equal parts of [t_min, t_max]: the same mean loss, less variance."""
    position = (jnp.arange(count) + jax.random.uniform(key, (count,))) / count
    return sde.t_min + (sde.t_max - sde.t_min) * position


def std_weighting(sde: SDE, t: jax.Array) -> jax.Array:
    """``λ(t) = std²``, as published: every time counts ``‖std · s + z‖²``."""
    del sde
    return jnp.ones_like(t)


def log_uniform_times(key: jax.Array, sde: SDE, count: int) -> jax.Array:
    """Stratified times, uniform in their logarithm over [t_min, t_max]; [count]."""
    position = (jnp.arange(count) + jax.random.uniform(key, (count,))) / count
    return sde.t_min * (sde.t_max / sde.t_min) ** position


def edm_weighting(sde: SDE, t: jax.Array) -> jax.Array:
    """``1 + σ²``: Karras et al.'s ``(σ² + σ_data²)/(σ σ_data)² · ‖D − x‖²`` for data of unit variance, σ = std/scale.

    arXiv 2206.00364, table 1, with ``D − x = σ (std · s + z)``.
    """
    scale, std = sde.marginal(t)
    return 1 + (std / scale) ** 2


TIME_SAMPLERS: dict[str, TimeSampler] = {
    "uniform": uniform_times,
    "stratified": stratified_times,
    "log_uniform": log_uniform_times,
}
WEIGHTINGS: dict[str, Weighting] = {"std": std_weighting, "edm": edm_weighting}


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
) -> Loss:
    """The training loss of a batch: the mean over its spectra of ``weighting(t) · ‖std · s + z‖²``.

    Args:
        sde: the forward process.
        score: the score function, per spectrum.
        weighting: the factor of each time.
        time_sampler: how times are drawn.
        retain: fraction of the batch, in (0, 1], whose losses count: the lowest. Below 1 the loss is trimmed, so that
            the spectra the model explains least (among them anomalies) do not train it.

    Returns:
        ``loss(variables, key, x [batch, bands], rings) -> []``.
    """

    def loss(
        variables: Variables,
        key: jax.Array,
        x: jax.Array,
        rings: jax.Array | None,
        batches: Batches = ONE_DEVICE,
    ) -> jax.Array:
        batch = batches.whole(x.shape[0])
        times_key, noise_key = jax.random.split(key)
        times = batches.part(time_sampler(times_key, sde, batch))
        z = batches.part(jax.random.normal(noise_key, (batch, *x.shape[1:]), x.dtype))
        one = functools.partial(example_loss, sde, score, variables)
        losses = jax.vmap(one, in_axes=(0, 0, 0, None if rings is None else 0))(x, times, z, rings)
        losses = losses * jax.vmap(functools.partial(weighting, sde))(times)
        kept = max(1, round(retain * batch))
        if kept < batch:
            losses = jnp.sort(batches.gather(losses))[:kept]
        return jnp.mean(losses)

    return loss
