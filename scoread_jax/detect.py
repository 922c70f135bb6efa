"""A whole scene in one jitted call: all pixels × noise times × perturbations.

Every perturbation has a key of its own, from its noise time, the pixel's place in the scene and its number, so the
map does not depend on how the work is cut up.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scoread_jax.config import Config
from scoread_jax.network import Apply, Network, Variables
from scoread_jax.parallel import PixelFunction, map_chunks, map_pixels
from scoread_jax.scene import Normalisation
from scoread_jax.sde import SDE
from scoread_jax.statistic import Perturbed, Statistic
from scoread_jax.views import View

# Activations in flight at once: what a CPU core's cache holds. More is slower there.
_BYTES_AT_ONCE = 5 << 19


class Functions(NamedTuple):
    """A user's own functions, in place of those that the configuration names; None: as configured.

    Attributes:
        sde: a forward process.
        network: ``(bands, conditional) -> Network``; use ``bands`` coordinates in and out.
        statistic: ``Perturbed -> []``, higher = more anomalous.
    """

    sde: SDE | None = None
    network: Callable[[int, bool], Network] | None = None
    statistic: Statistic | None = None


AS_CONFIGURED = Functions()


@dataclasses.dataclass(frozen=True, eq=False)
class Detector:
    """A trained model with all that is needed to score a scene like the one it was trained on.

    Attributes:
        config: the configuration it was made with.
        variables: of the network.
        bands: number of good bands.
        normalisation: of the training scene; None: each scene's own.
        good_bands: which bands of the file count, bool [bands of the file]; None: each scene's own.
        view: the coordinates in which the network sees the spectra; None: bands as they are.
        functions: in place of those that the configuration names.
    """

    config: Config
    variables: Variables
    bands: int
    normalisation: Normalisation | None = None
    good_bands: np.ndarray | None = None
    view: View | None = None
    functions: Functions = AS_CONFIGURED


class Rings(NamedTuple):
    """The neighbours of some pixels.

    Attributes:
        table: spectra, [table, bands].
        indices: where each pixel's ring lies in the table, int32 [pixels, ring].
    """

    table: jax.Array
    indices: jax.Array


def chunk_size(pixels: int, perturbations: int, evaluation_bytes: int) -> int:
    """Pixels to score at once: as many as keep the activations in the cache, at least one."""
    return max(1, min(pixels, _BYTES_AT_ONCE // (evaluation_bytes * perturbations)))


def pixel_scores(
    key: jax.Array,
    variables: Variables,
    spectra: jax.Array,
    places: jax.Array,
    rings: Rings | None,
    times: jax.Array,
    *,
    sde: SDE,
    score: Apply,
    statistic: Statistic,
    perturbations: int,
    antithetic: bool,
    chunk: int,
    **devices: Any,
) -> jax.Array:
    """The statistic of every pixel at every noise time.

    Args:
        key: of all noise.
        variables: of the network.
        spectra: normalised, [pixels, bands].
        places: each pixel's place in the scene (row · cols + col), which names its noise, int32 [pixels].
        rings: of each pixel, or None.
        times: noise times, each in (0, t_max], [times].
        sde: the forward process.
        score: the score function, per spectrum.
        statistic: ``Perturbed -> []``; see ``scoread_jax.statistic``.
        perturbations: K ≥ 1.
        antithetic: draw the noise in pairs z, −z, which cancels its part in the sum of scores to first order; K even.
        chunk: pixels scored at once on each device, ≥ 1. It changes memory and speed, not the result.
        **devices: ``at_least``, ``strategy``, ``devices`` of ``parallel.map_pixels``; they do not change the result
            either.

    Returns:
        [times, pixels], higher = more anomalous.
    """
    scorer = _scorer(sde, score, statistic, perturbations, antithetic, chunk)
    table, indices = (None, None) if rings is None else rings
    return map_pixels(scorer, (key, variables, table, times), (spectra, places, indices), **devices).T


@functools.cache
def _scorer(
    sde: SDE, score: Apply, statistic: Statistic, perturbations: int, antithetic: bool, chunk: int
) -> PixelFunction:
    """``(key, variables, table, times), (spectra, places, rings) -> [pixels, times]``."""

    def scene(shared: Any, pixels: Any) -> jax.Array:
        key, variables, table, times = shared

        def one_pixel(pixel: tuple[jax.Array, jax.Array, jax.Array | None]) -> jax.Array:
            x, place, ring_places = pixel
            ring = None if ring_places is None else table[ring_places]
            no_ring = None if ring is None else jnp.zeros_like(ring)

            def score_at(x: jax.Array, t: jax.Array) -> jax.Array:
                return score(variables, x, t, ring)

            def score_alone(x: jax.Array, t: jax.Array) -> jax.Array:
                return score(variables, x, t, no_ring)

            def at_time(time: tuple[jax.Array, jax.Array]) -> jax.Array:
                number, t = time
                scale, std = sde.marginal(t)
                pixel_key = jax.random.fold_in(jax.random.fold_in(key, number), place)

                def perturbed(k: jax.Array) -> tuple[jax.Array, jax.Array]:
                    draw, sign = (k // 2, 1 - 2 * (k % 2)) if antithetic else (k, 1)
                    z = sign * jax.random.normal(jax.random.fold_in(pixel_key, draw), x.shape, x.dtype)
                    return score_at(scale * x + std * z, t), z

                scores, noise = jax.vmap(perturbed)(jnp.arange(perturbations))
                clean = score_at(scale * x, t)
                return statistic(Perturbed(scores, noise, std, clean, x, t, sde, score_at, score_alone))

            return jax.lax.map(at_time, (jnp.arange(times.shape[0]), times))

        return map_chunks(one_pixel, pixels, chunk)

    return scene
