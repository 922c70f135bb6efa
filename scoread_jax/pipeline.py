"""The whole road: a scene is fitted, scored and evaluated. What the command line and the benchmarks call."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scoread_jax import (
    closed_form,
    context,
    ensemble,
    fusion,
    loss,
    members,
    network,
    parallel,
    precondition,
    scene,
    sde,
    statistic,
    train,
    views,
)
from scoread_jax import config as configuration
from scoread_jax.blocks import Block, cut, filled_up, map_blocks
from scoread_jax.config import Config
from scoread_jax.detect import AS_CONFIGURED, Chunk, Detector, Functions, Program, Rings, chunk_size, pixel_scores
from scoread_jax.errors import ConfigError, SceneError
from scoread_jax.execution import PLAIN, Execution, block_rows
from scoread_jax.keep import Keeper
from scoread_jax.network import Apply, Network
from scoread_jax.noise import ESTIMATORS
from scoread_jax.scene import Normalisation, Scene
from scoread_jax.sde import SDE

Callback = Callable[[train.Progress], None]

# Pixels are filled up to a multiple of what an exported program works on at once, so that is bounded.
_MOST_EXPORTED_AT_ONCE = 4096

# Coordinates without variance would make the linear denoiser divide by zero at zero noise.
_LEAST_VARIANCE = 1e-4


class Model(NamedTuple):
    """The functions that a configuration names.

    Attributes:
        sde: the forward process.
        network: raw network.
        score: the score function, per spectrum.
        loss: of a training batch.
        statistic: of a pixel's perturbed scores.
    """

    sde: SDE
    network: Network
    score: Apply
    loss: loss.Loss
    statistic: statistic.Statistic


def build(config: Config, bands: int, functions: Functions = AS_CONFIGURED) -> Model:
    """The functions named by a configuration, for a network that sees ``bands`` bands or coordinates.

    Args:
        config: names of functions, and their settings.
        bands: length of what the network sees.
        functions: in place of those that the configuration names.

    Raises:
        ConfigError: for noise times outside of a user's own process.
    """
    process = functions.sde or _process(config)
    for t in config.detect.times:
        if t > process.t_max:
            raise ConfigError(f"detect.times must be in (0, {process.t_max:g}] (the process's t_max), found {t:g}")
    conditional = config.context.conditional
    if functions.network is None:
        net = network.build(config.network, bands, conditional=conditional)
    else:
        net = _own_network(functions.network, bands, conditional)
    score = precondition.PRECONDITIONINGS[config.network.precondition](process, net.apply)
    criterion = loss.denoising_score_matching(
        process,
        score,
        loss.WEIGHTINGS[config.train.weighting],
        loss.TIME_SAMPLERS[config.train.times],
        config.train.retain,
        config.train.ring_dropout,
        None if config.train.teacher_keep == 1 else loss.Teacher(config.train.teacher_keep, config.detect.times[0]),
    )
    if config.train.ensemble > 1:
        net = ensemble.networks(net, config.train.ensemble)
        score, criterion = ensemble.mean_score(score), ensemble.total_loss(criterion, config.train.ensemble)
    return Model(process, net, score, criterion, functions.statistic or statistic.STATISTICS[config.detect.statistic])


def _process(config: Config) -> SDE:
    chosen = config.sde
    times = {"t_min": chosen.t_min, "t_max": chosen.t_max}
    match chosen.name:
        case "linear_ve":
            return sde.LinearVE(**times)
        case "geometric_ve":
            return sde.GeometricVE(chosen.sigma_min, chosen.sigma_max, **times)
        case "vp" | "sub_vp":
            return sde.VP(chosen.beta_min, chosen.beta_max, chosen.name == "sub_vp", **times)
        case _:
            return sde.ExponentialVE(chosen.sigma, **times)


@functools.cache
def _own_network(make: Callable[[int, bool], Network], bands: int, conditional: bool) -> Network:
    """The same function objects for the same network, so that nothing is compiled twice."""
    return make(bands, conditional)


def detect(
    image: Scene,
    config: Config | None = None,
    callback: Callback | None = None,
    functions: Functions = AS_CONFIGURED,
    execution: Execution = PLAIN,
) -> tuple[Detector, np.ndarray]:
    """Train on a scene and score it: ``fit`` and ``score``, with what they share computed once.

    Args:
        image: the scene.
        config: the recipe; the default preset where None.
        callback: called after each epoch.
        functions: in place of those that the configuration names.
        execution: memory, rows of a block, who is told, where the run is kept; it does not change the map.

    Returns:
        The detector, and the map float32 [rows, cols].

    Raises:
        ConfigError: for a recipe that does not fit the scene, or a memory limit that does not hold a row.
        TrainingError: when training diverges.
    """
    config = configuration.load("default") if config is None else config
    spectra = _Spectra(image, scene.global_min_max(image), None)
    maps = _closed_form(spectra, config, execution) if _needs_closed_form(config) else {}
    detector = _fit(spectra, maps, config, callback, functions, execution.keeper)
    return detector, _score(detector, spectra, maps, execution)


def fit(
    image: Scene,
    config: Config | None = None,
    callback: Callback | None = None,
    functions: Functions = AS_CONFIGURED,
    execution: Execution = PLAIN,
) -> Detector:
    """Train a score model on the valid spectra of a scene. Ground truth is not looked at.

    Args:
        image: the scene.
        config: the recipe; the default preset where None.
        callback: called after each epoch.
        functions: in place of those that the configuration names.
        execution: see ``detect``.

    Raises:
        ConfigError: for a recipe that does not fit the scene, or a memory limit that does not hold a row.
        TrainingError: when training diverges.
    """
    config = configuration.load("default") if config is None else config
    spectra = _Spectra(image, scene.global_min_max(image), None)
    maps = _closed_form(spectra, config, execution) if config.train.drop and _has_network(config) else {}
    return _fit(spectra, maps, config, callback, functions, execution.keeper)


def score(detector: Detector, image: Scene, execution: Execution = PLAIN) -> np.ndarray:
    """The anomaly map of a scene.

    Args:
        detector: trained on this scene, or on one of the same sensor and units.
        image: the scene.
        execution: see ``detect``.

    Returns:
        float32 [rows, cols], higher = more anomalous, NaN where the scene is masked.

    Raises:
        SceneError: for a scene with other bands than the detector's.
        ConfigError: for a memory limit that does not hold a row.
    """
    spectra = _Spectra(image, detector.normalisation or scene.global_min_max(image), detector.good_bands)
    bands = image.bands if detector.good_bands is None else int(np.count_nonzero(detector.good_bands))
    if bands != detector.bands:
        raise SceneError(
            f"{image.source}: expected {detector.bands} bands, as the detector was trained on, "
            f"found {bands}; use a detector trained on this sensor and band list"
        )
    wanted = set(detector.config.fusion.members) - {"network"}
    maps = _closed_form(spectra, detector.config, execution) if wanted else {}
    return _score(detector, spectra, maps, execution)


class _Spectra(NamedTuple):
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
        return self.at(closed_form.reference_places(_keys(config).statistics, self.image.pixels, config.sample))


def _fit(
    spectra: _Spectra,
    maps: Mapping[str, np.ndarray],
    config: Config,
    callback: Callback | None,
    functions: Functions,
    keeper: Keeper,
) -> Detector:
    image, normalisation = spectra.image, spectra.normalisation
    if not _has_network(config):
        return Detector(config, {"params": {}, "constants": {}}, image.bands, normalisation, image.good_bands)
    keys = _keys(config)
    recipe = dataclasses.replace(config.train, max_pixels=min(config.train.max_pixels or config.sample, config.sample))
    kept = keeper.resume(image, config)
    if kept is None:
        chosen, view = members.training_pixels(keys.sample, maps, image.pixels, recipe), _learn_view(spectra, config)
    else:
        chosen, view = kept.chosen, kept.view
    rings = _rings(image, config, chosen)
    known = spectra.at(chosen)
    if rings is not None:  # only what trains and the rings around it come to the device
        others = np.setdiff1d(rings, chosen)
        known = np.concatenate([known, spectra.at(others)])
        table = np.concatenate([chosen, others])
        rings = np.argsort(table).astype(np.int32)[np.searchsorted(np.sort(table), rings)]
    known = known if view is None else view.apply(known)
    trained = np.arange(len(chosen), dtype=np.int32)
    model = build(config, known.shape[1], functions)
    variables = model.network.init(keys.init)
    if config.network.precondition in ("wiener", "edm"):
        variance = jnp.asarray(known[trained].var(axis=0) + _LEAST_VARIANCE)
        variables = variables | {"constants": variables["constants"] | {"variance": variance}}
    state = train.init_state(variables, config.train, len(trained))
    state = state if kept is None else kept.restore(state)
    rings = None if rings is None else jnp.asarray(rings)
    with keeper.training(keys.train, chosen, view, callback) as callback:
        state = train.fit(
            keys.train, state, jnp.asarray(known), rings, jnp.asarray(trained), model.loss, config.train, callback
        )
    variables = parallel.agree(jax.device_get(state.variables))
    return Detector(config, variables, image.bands, normalisation, image.good_bands, view, functions)


def _learn_view(spectra: _Spectra, config: Config) -> views.View | None:
    if config.view.kind == "identity":
        return None
    return views.learn(spectra.sample(config), config.view.kind, config.view.components)


def _score(detector: Detector, spectra: _Spectra, maps: Mapping[str, np.ndarray], execution: Execution) -> np.ndarray:
    config, image = detector.config, spectra.image
    if _has_network(config):
        maps = {**maps, "network": _network_member(detector, spectra, execution)}
    values = members.fuse(image.valid, maps, config.fusion)
    if not np.isfinite(values).all():
        raise SceneError(
            f"{image.source}: expected finite scores, found {np.count_nonzero(~np.isfinite(values))} that are not; "
            "the scene's values lie far outside those the model was trained on"
        )
    return scene.to_map(image, values)


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
    key = _keys(detector.config).score
    return np.asarray(program(key, jnp.asarray(known), jnp.asarray(places), rings, at_least))


def exportable(detector: Detector) -> tuple[Callable[..., jax.Array], int]:
    """The network member as a pure function of arrays, for ``export``.

    Raises:
        ConfigError: for a detector without a network.
    """
    if not _has_network(detector.config) or detector.program is not None:
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
            spread=spread,
            at_least=at_least,
        )

    return program


def _network_member(detector: Detector, spectra: _Spectra, execution: Execution) -> np.ndarray:
    config, image = detector.config, spectra.image
    places = np.flatnonzero(image.valid).astype(np.int32)

    def read(block: Block) -> tuple[np.ndarray, Rings | None]:
        pixels = np.arange(block.pixels.start, block.pixels.stop, dtype=np.int32)
        rings = _rings(image, config, pixels)
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


def _closed_form(spectra: _Spectra, config: Config, execution: Execution) -> dict[str, np.ndarray]:
    image, form = spectra.image, config.closed_form
    learned = members.learn(_keys(config).references, image.valid, spectra.sample(config), spectra.at, form)
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


def _has_network(config: Config) -> bool:
    return "network" in config.fusion.members


def _needs_closed_form(config: Config) -> bool:
    return set(config.fusion.members) != {"network"} or config.train.drop > 0


class _Keys(NamedTuple):
    """One key for each purpose."""

    init: jax.Array
    train: jax.Array
    score: jax.Array
    references: jax.Array
    sample: jax.Array
    statistics: jax.Array


def _keys(config: Config) -> _Keys:
    return _Keys(*jax.random.split(jax.random.key(config.seed), len(_Keys._fields)))


def _rings(image: Scene, config: Config, pixels: np.ndarray) -> np.ndarray | None:
    """Where the rings of some pixels lie in the list of valid pixels, int32 [pixels, ring]."""
    if not config.context.conditional:
        return None
    return context.ring_indices(image.valid, config.context.outer, config.context.inner, pixels)
