"""The network member: its statistic at the pixels of a scene, block by block."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from scoread_jax import adaptive, fusion, parallel
from scoread_jax.blocks import Block, cut, filled_up, map_blocks
from scoread_jax.config import replace
from scoread_jax.detect import Array, Chunk, Detector, Program, Rings, chunk_size, pixel_scores
from scoread_jax.errors import ConfigError
from scoread_jax.execution import Execution, block_rows
from scoread_jax.maps import Spectra, has_network, keys, ring_places
from scoread_jax.model import Model, build
from scoread_jax.noise import ESTIMATORS

# Pixels are filled up to a multiple of what an exported program works on at once, so that is bounded.
_MOST_EXPORTED_AT_ONCE = 4096


def network_member(detector: Detector, spectra: Spectra, execution: Execution) -> np.ndarray:
    """Map of the network's statistic, its noise times fused.

    Args:
        detector: with a network.
        spectra: of the scene.
        execution: see ``closed_form_members``.

    Returns:
        [pixels].
    """
    config = detector.config.detect
    scores = functools.partial(_scores, spectra=spectra, execution=execution)
    everything = np.arange(spectra.image.pixels, dtype=np.int32)
    if not config.first:
        return fusion.fuse_times(scores(detector, stage="scoring", wanted=everything), config.time_fusion)
    if detector.functions.statistic is not None:
        raise ConfigError(f"detect.first must be 0 (all K at once) for a statistic of one's own, found {config.first}")
    recipe = replace(detector.config, {"detect.first": 0, "detect.perturbations": config.first})
    first = scores(dataclasses.replace(detector, config=recipe), stage="scoring", wanted=everything)
    refined = adaptive.open_pixels(fusion.fuse_times(first, config.time_fusion), config)
    found = scores(detector, stage="refining", wanted=refined, others=first)
    return fusion.fuse_times(adaptive.on_one_scale(first, found, refined), config.time_fusion)


def _scores(
    detector: Detector,
    spectra: Spectra,
    execution: Execution,
    stage: str,
    wanted: np.ndarray,
    others: np.ndarray | None = None,
) -> np.ndarray:
    """The network's statistic of the wanted pixels, block by block.

    Args:
        detector: with a network.
        spectra: of the scene.
        execution: see ``closed_form_members``.
        stage: what those who watch are told.
        wanted: places in the list of valid pixels, sorted, int32.
        others: what the pixels have that are not wanted, [times, pixels]; None where all are.

    Returns:
        [times, pixels].
    """
    config, image = detector.config, spectra.image
    places = np.flatnonzero(image.valid).astype(np.int32)
    halo = config.context.outer // 2
    blocks = cut(image.valid, block_rows(image, config, halo, execution), halo)

    def in_block(block: Block) -> np.ndarray:
        start, stop = np.searchsorted(wanted, (block.pixels.start, block.pixels.stop))
        return wanted[start:stop]

    # All blocks are filled up to the fullest, so that they share one compiled function.
    most = max(len(in_block(block)) for block in blocks)

    def read(block: Block) -> tuple[np.ndarray, Rings | None]:
        pixels = in_block(block)
        rings = ring_places(image, config, pixels)
        if rings is None:
            return coordinates(spectra.of_rows(block.core)[pixels - block.pixels.start]), None
        table = np.union1d(pixels, rings)
        known = coordinates(spectra.at(table))
        indices = np.searchsorted(table, rings).astype(np.int32)
        return known[np.searchsorted(table, pixels)], Rings(filled_up(known, block.most_around), indices)

    def coordinates(found: np.ndarray) -> np.ndarray:
        return found if detector.view is None else detector.view.apply(found)

    def scores(block: Block, found: tuple[np.ndarray, Rings | None]) -> np.ndarray:
        known, rings = found
        pixels = in_block(block)
        if len(pixels) == 0:
            assert others is not None
            return others[:, block.pixels]
        part = network_scores(detector, known, places[pixels], rings, pixels=image.pixels, at_least=most)
        if others is None:
            return part
        whole = others[:, block.pixels].copy()
        whole[:, pixels - block.pixels.start] = part
        return whole

    view = None if detector.view is None else (detector.view.centre, detector.view.basis)
    decides = config, spectra.normalisation, detector.variables, view, detector.functions, wanted
    with execution.keeper.scoring("network", image, decides, lambda leaves: leaves[0]) as keep:
        return map_blocks(blocks, read, scores, execution.told(stage), keep)


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
    program = detector.program or _here(detector, pixels)
    key = keys(detector.config).score
    return np.asarray(program(key, known, places, rings, at_least))


def exportable(detector: Detector) -> tuple[Callable[..., jax.Array], int]:
    """The network member as a pure function of arrays, for ``export``.

    Raises:
        ConfigError: for a detector without a network, or with several passes.
    """
    if not has_network(detector.config) or detector.program is not None:
        raise ConfigError(
            "a detector to export must have been trained, found one "
            + ("that was exported" if detector.program else "without the member network")
        )
    if detector.config.detect.first:
        raise ConfigError(
            "detect.first must be 0 (all K at once) in a detector to export, for a program knows no other pixels, "
            f"found {detector.config.detect.first}; save it with 0"
        )
    model = _model(detector)
    chunk = _chunk(detector, model, _MOST_EXPORTED_AT_ONCE)

    def apart(fn: Callable[..., Any], shared: Any, pixels: Any, **_: Any) -> Any:
        return fn(shared, pixels)

    def score(key: jax.Array, spectra: jax.Array, places: jax.Array, rings: Rings | None) -> jax.Array:
        return _program(detector, model, chunk, apart)(key, spectra, places, rings, 0).T

    return score, chunk.pixels


def _here(detector: Detector, pixels: int) -> Program:
    """For the devices of this process."""
    model = _model(detector, native=parallel.on_cpu() and detector.config.detect.precision == "float32")
    return _program(detector, model, _chunk(detector, model, pixels))


def _model(detector: Detector, *, native: bool = False) -> Model:
    length = detector.bands if detector.view is None else detector.view.basis.shape[1]
    return build(detector.config, length, detector.functions, native=native)


def _chunk(detector: Detector, model: Model, pixels: int) -> Chunk:
    config = detector.config.detect
    return chunk_size(pixels, config.perturbations, model.network.evaluation_bytes, config.chunk)


def _program(
    detector: Detector, model: Model, chunk: Chunk, spread: Callable[..., Any] = parallel.map_pixels
) -> Program:
    config = detector.config.detect

    def program(key: jax.Array, spectra: Array, places: Array, rings: Rings | None, at_least: int) -> jax.Array:
        return pixel_scores(
            key,
            detector.variables,
            spectra,
            places,
            rings,
            np.asarray(config.times, np.float32),
            sde=model.sde,
            score=model.score,
            forward=model.forward,
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
