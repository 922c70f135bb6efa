"""The members' maps of a scene, block by block: what lies between a scene's file and the fusion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scoread_jax import closed_form, context, fusion, members, parallel, scene
from scoread_jax.blocks import Block, cut, filled_up, map_blocks
from scoread_jax.config import Config
from scoread_jax.detect import Chunk, Detector, Program, Rings, chunk_size, pixel_scores
from scoread_jax.errors import ConfigError
from scoread_jax.execution import Execution, block_rows
from scoread_jax.model import Model, build
from scoread_jax.noise import ESTIMATORS
from scoread_jax.scene import Normalisation, Scene

# Pixels are filled up to a multiple of what an exported program works on at once, so that is bounded.
_MOST_EXPORTED_AT_ONCE = 4096


class Keys(NamedTuple):
    """One key for each purpose."""

    init: jax.Array
    train: jax.Array
    score: jax.Array
    references: jax.Array
    sample: jax.Array
    statistics: jax.Array


def keys(config: Config) -> Keys:
    """All randomness of a run, from the seed of its configuration."""
    return Keys(*jax.random.split(jax.random.key(config.seed), len(Keys._fields)))


class Spectra(NamedTuple):
    """The normalised spectra of a scene, read when they are wanted."""

    image: Scene
    normalisation: Normalisation
    good_bands: np.ndarray | None

    def of_rows(self, rows: slice) -> np.ndarray:
        """Those of some rows, float32 [pixels, bands]."""
        return scene.spectra(self.image, self.normalisation, self.good_bands, rows)

    def at(self, places: np.ndarray) -> np.ndarray:
        """Those at some places of the list of valid pixels, sorted, float32 [places, bands]."""
        return scene.spectra_at(self.image, self.normalisation, places, self.good_bands)

    def sample(self, config: Config) -> np.ndarray:
        """Those that stand for the scene: all, or as many as ``config.sample``."""
        return self.at(closed_form.reference_places(keys(config).statistics, self.image.pixels, config.sample))


def closed_form_members(spectra: Spectra, config: Config, execution: Execution) -> dict[str, np.ndarray]:
    """Maps of the members that need no training.

    Args:
        spectra: of the scene.
        config: the recipe.
        execution: rows of a block, who is told, what is kept.

    Returns:
        By member, in robust standard deviations, each [pixels].
    """
    image, form = spectra.image, config.closed_form
    learned = members.learn(keys(config).references, image.valid, spectra.sample(config), spectra.at, form)
    halo = members.reach(form)
    blocks = cut(image.valid, block_rows(image, config, halo, execution), halo)
    decides = config, spectra.normalisation, spectra.good_bands
    with execution.keeper.scoring("surroundings", image, decides, lambda leaves: members.Lengths(*leaves)) as keep:
        found = map_blocks(
            blocks,
            lambda block: spectra.of_rows(block.reach),
            lambda block, known: members.lengths(learned, image.valid, block, known, form),
            execution.told("surroundings"),
            keep,
        )
    return members.compare(found, form)


def network_member(detector: Detector, spectra: Spectra, execution: Execution) -> np.ndarray:
    """Map of the network's statistic, its noise times fused.

    Args:
        detector: with a network.
        spectra: of the scene.
        execution: see ``closed_form_members``.

    Returns:
        [pixels].
    """
    config, image = detector.config, spectra.image
    places = np.flatnonzero(image.valid).astype(np.int32)

    def read(block: Block) -> tuple[np.ndarray, Rings | None]:
        pixels = np.arange(block.pixels.start, block.pixels.stop, dtype=np.int32)
        rings = ring_places(image, config, pixels)
        if rings is None:
            return coordinates(spectra.of_rows(block.core)), None
        table = np.union1d(pixels, rings)
        known = coordinates(spectra.at(table))
        indices = np.searchsorted(table, rings).astype(np.int32)
        return known[np.searchsorted(table, pixels)], Rings(
            jnp.asarray(filled_up(known, block.most_around)), jnp.asarray(indices)
        )

    def coordinates(found: np.ndarray) -> np.ndarray:
        return found if detector.view is None else detector.view.apply(found)

    def scores(block: Block, found: tuple[np.ndarray, Rings | None]) -> np.ndarray:
        known, rings = found
        return network_scores(
            detector, known, places[block.pixels], rings, pixels=image.pixels, at_least=block.most_pixels
        )

    halo = config.context.outer // 2
    rows = block_rows(image, config, halo, execution)
    view = None if detector.view is None else (detector.view.centre, detector.view.basis)
    decides = config, spectra.normalisation, detector.variables, view, detector.functions
    with execution.keeper.scoring("network", image, decides, lambda leaves: leaves[0]) as keep:
        found = map_blocks(cut(image.valid, rows, halo), read, scores, execution.told("scoring"), keep)
    return fusion.fuse_times(found, config.detect.time_fusion)


def network_scores(
    detector: Detector,
    known: np.ndarray,
    places: np.ndarray,
    rings: Rings | None = None,
    *,
    pixels: int,
    at_least: int = 0,
) -> np.ndarray:
    """The network's statistic of some pixels at every noise time, before anything is compared.

    Args:
        detector: with a network.
        known: what the network sees of them, [pixels, coordinates].
        places: which name their noise, int32 [pixels].
        rings: of each pixel, or None.
        pixels: of the scene, which decide how many are scored at once.
        at_least: see ``parallel.map_pixels``.

    Returns:
        [times, pixels].
    """
    program = detector.program or _program(detector, _model(detector), _chunk(detector, pixels))
    key = keys(detector.config).score
    return np.asarray(program(key, jnp.asarray(known), jnp.asarray(places), rings, at_least))


def exportable(detector: Detector) -> tuple[Callable[..., jax.Array], int]:
    """The network member as a pure function of arrays, for ``export``.

    Raises:
        ConfigError: for a detector without a network.
    """
    if not has_network(detector.config) or detector.program is not None:
        raise ConfigError(
            "a detector to export must have been trained, found one "
            + ("that was exported" if detector.program else "without the member network")
        )
    model, chunk = _model(detector), _chunk(detector, _MOST_EXPORTED_AT_ONCE)

    def apart(fn: Callable[..., Any], shared: Any, pixels: Any, **_: Any) -> Any:
        return fn(shared, pixels)

    def score(key: jax.Array, spectra: jax.Array, places: jax.Array, rings: Rings | None) -> jax.Array:
        return _program(detector, model, chunk, apart)(key, spectra, places, rings, 0).T

    return score, chunk.pixels


def _model(detector: Detector) -> Model:
    length = detector.bands if detector.view is None else detector.view.basis.shape[1]
    return build(detector.config, length, detector.functions)


def _chunk(detector: Detector, pixels: int) -> Chunk:
    config, size = detector.config.detect, _model(detector).network.evaluation_bytes
    return chunk_size(pixels, config.perturbations, size, config.chunk)


def _program(
    detector: Detector, model: Model, chunk: Chunk, spread: Callable[..., Any] = parallel.map_pixels
) -> Program:
    config = detector.config.detect

    def program(key: jax.Array, spectra: jax.Array, places: jax.Array, rings: Rings | None, at_least: int) -> jax.Array:
        return pixel_scores(
            key,
            detector.variables,
            spectra,
            places,
            rings,
            jnp.asarray(config.times, jnp.float32),
            sde=model.sde,
            score=model.score,
            statistic=model.statistic,
            perturbations=config.perturbations,
            estimator=ESTIMATORS[config.estimator],
            chunk=chunk,
            at_time=model.network.at_time,
            precision=config.precision,
            spread=spread,
            at_least=at_least,
        )

    return program


def has_network(config: Config) -> bool:
    """Whether one of the members is a network."""
    return "network" in config.fusion.members


def ring_places(image: Scene, config: Config, pixels: np.ndarray) -> np.ndarray | None:
    """Where the rings of some pixels lie in the list of valid pixels, int32 [pixels, ring]."""
    if not config.context.conditional:
        return None
    return context.ring_indices(image.valid, config.context.outer, config.context.inner, pixels)
