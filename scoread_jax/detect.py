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
from scoread_jax.network import Apply, AtTime, Network, Variables, in_precision, nothing_of_time
from scoread_jax.noise import Estimator
from scoread_jax.parallel import PixelFunction, map_chunks, map_pixels, working_bytes
from scoread_jax.scene import Normalisation
from scoread_jax.sde import SDE
from scoread_jax.statistic import Perturbed, Statistic
from scoread_jax.views import View


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

Array = jax.Array | np.ndarray

Program = Callable[[jax.Array, Array, Array, "Rings | None", int], Any]
"""``(key, spectra, places, rings, at_least) -> [times, pixels]``: what ``pixel_scores`` does, with all else decided."""


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
        program: in place of all of these, compiled ahead of time; see ``scoread_jax.export``.
    """

    config: Config
    variables: Variables
    bands: int
    normalisation: Normalisation | None = None
    good_bands: np.ndarray | None = None
    view: View | None = None
    functions: Functions = AS_CONFIGURED
    program: Program | None = None


class Rings(NamedTuple):
    """The neighbours of some pixels.

    Attributes:
        table: spectra, [table, bands].
        indices: where each pixel's ring lies in the table, int32 [pixels, ring].
    """

    table: Array
    indices: Array


class Chunk(NamedTuple):
    """What each device works on at once. It changes memory and speed, not the map.

    Attributes:
        pixels: scored at once, ≥ 1.
        copies: perturbed copies of each that go through the network at once, in [1, K].
    """

    pixels: int
    copies: int


def chunk_size(pixels: int, perturbations: int, evaluation_bytes: int, asked: int = 0) -> Chunk:
    """As much as the devices work on best at once.

    Args:
        pixels: of the scene.
        perturbations: K.
        evaluation_bytes: see ``Network``.
        asked: pixels to score at once; 0: as many as fit.
    """
    most = max(1, working_bytes() // evaluation_bytes)
    rounds = -(-perturbations // most)
    copies = perturbations if asked else -(-perturbations // rounds)
    return Chunk(min(pixels, asked or max(1, most // perturbations)), copies)


def pixel_scores(
    key: jax.Array,
    variables: Variables,
    spectra: Array,
    places: Array,
    rings: Rings | None,
    times: Array,
    *,
    sde: SDE,
    score: Apply,
    forward: Apply | None = None,
    statistic: Statistic,
    perturbations: int,
    estimator: Estimator,
    chunk: Chunk,
    at_time: AtTime = nothing_of_time,
    precision: str = "float32",
    spread: Callable[..., Any] = map_pixels,
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
        forward: the same where no derivative is asked for, given what ``at_time`` returns; None: ``score``.
        statistic: ``Perturbed -> []``; see ``scoread_jax.statistic``.
        perturbations: K ≥ 1.
        estimator: how the noise is drawn; see ``scoread_jax.noise``.
        chunk: what each device works on at once; see ``chunk_size``.
        at_time: of the network; what it returns is computed once for all pixels.
        precision: of the network's products; see ``network.in_precision``.
        spread: over devices.
        **devices: ``at_least``, ``strategy``, ``devices`` of ``parallel.map_pixels``; they do not change the result
            either.

    Returns:
        [times, pixels], higher = more anomalous.
    """
    moments = _each_time(sde, at_time, estimator, perturbations, spectra.shape[1])(key, variables, times)
    scorer = _scorer(sde, score, forward or score, statistic, perturbations, estimator, chunk)
    table, indices = (None, None) if rings is None else rings
    variables = in_precision(variables, precision)
    evaluations = len(times) * (perturbations + 1)
    return spread(scorer, (variables, table, moments), (spectra, places, indices), evaluations=evaluations, **devices).T


class _Moment(NamedTuple):
    """What depends on the noise time alone: computed once, in a call of its own, so that it is the same to the last
    bit however the pixels are spread.

    Attributes:
        key: of the noise.
        t: the time, [].
        scale: of the perturbation kernel, [].
        std: of the perturbation kernel, [].
        known: what the network needs of the time, a part of its variables.
        noise: that all pixels share, [K, bands], or None.
    """

    key: jax.Array
    t: jax.Array
    scale: jax.Array
    std: jax.Array
    known: Variables
    noise: jax.Array | None


@functools.cache
def _each_time(sde: SDE, at_time: AtTime, estimator: Estimator, perturbations: int, bands: int) -> Any:
    """``(key, variables, times) -> _Moment``, whose arrays have a leading axis [times]."""

    @jax.jit
    def moments(key: jax.Array, variables: Variables, times: jax.Array) -> _Moment:
        def moment(time: tuple[jax.Array, jax.Array]) -> _Moment:
            number, t = time
            time_key = jax.random.fold_in(key, number)
            noise = estimator.draw(time_key, perturbations, bands) if estimator.shared else None
            return _Moment(time_key, t, *sde.marginal(t), at_time(variables, t), noise)

        # One after the other: a time is the same whichever others there are.
        return jax.lax.map(moment, (jnp.arange(times.shape[0]), times))

    return moments


@functools.cache
def _scorer(
    sde: SDE,
    score: Apply,
    forward: Apply,
    statistic: Statistic,
    perturbations: int,
    estimator: Estimator,
    chunk: Chunk,
) -> PixelFunction:
    """``(variables, table, moments), (spectra, places, rings) -> [pixels, times]``."""

    def scene(shared: Any, pixels: Any) -> jax.Array:
        variables, table, moments = shared

        def one_pixel(pixel: tuple[jax.Array, jax.Array, jax.Array | None]) -> jax.Array:
            x, place, ring_places = pixel
            ring = None if ring_places is None else table[ring_places]
            no_ring = None if ring is None else jnp.zeros_like(ring)

            def score_at(x: jax.Array, t: jax.Array) -> jax.Array:
                return score(variables, x, t, ring)

            def score_alone(x: jax.Array, t: jax.Array) -> jax.Array:
                return score(variables, x, t, no_ring)

            def at_moment(moment: _Moment) -> jax.Array:
                _, t, scale, std, known, noise = moment
                if noise is None:
                    noise = estimator.draw(jax.random.fold_in(moment.key, place), perturbations, len(x))

                def score_now(x: jax.Array) -> jax.Array:
                    return forward(variables | known, x, t, ring)

                scores = map_chunks(lambda z: score_now(scale * x + std * z), noise, chunk.copies)
                clean = score_now(scale * x)
                return statistic(Perturbed(scores, noise, std, clean, x, t, sde, score_at, score_alone))

            return jax.lax.map(at_moment, moments)

        return map_chunks(one_pixel, pixels, chunk.pixels)

    return scene
