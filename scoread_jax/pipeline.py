"""The whole road: a scene is fitted, scored and evaluated. What the command line and the benchmarks call."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from scoread_jax import config as configuration
from scoread_jax import members, parallel, scene, suspects, train, views
from scoread_jax.config import Config
from scoread_jax.detect import AS_CONFIGURED, Detector, Functions
from scoread_jax.errors import SceneError
from scoread_jax.execution import PLAIN, Execution
from scoread_jax.keep import Keeper
from scoread_jax.maps import Spectra, closed_form_members, has_network, keys, ring_places
from scoread_jax.model import build
from scoread_jax.scene import Scene
from scoread_jax.scoring import network_member

Callback = Callable[[train.Progress], None]

# Coordinates without variance would make the linear denoiser divide by zero at zero noise.
_LEAST_VARIANCE = 1e-4


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
    spectra = Spectra(image, scene.global_min_max(image), None)
    maps = closed_form_members(spectra, config, execution) if _needs_closed_form(config) else {}
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
    spectra = Spectra(image, scene.global_min_max(image), None)
    maps = closed_form_members(spectra, config, execution) if config.train.drop and has_network(config) else {}
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
    spectra = Spectra(image, detector.normalisation or scene.global_min_max(image), detector.good_bands)
    bands = image.bands if detector.good_bands is None else int(np.count_nonzero(detector.good_bands))
    if bands != detector.bands:
        raise SceneError(
            f"{image.source}: expected {detector.bands} bands, as the detector was trained on, "
            f"found {bands}; use a detector trained on this sensor and band list"
        )
    wanted = set(detector.config.fusion.members) - {"network"}
    maps = closed_form_members(spectra, detector.config, execution) if wanted else {}
    return _score(detector, spectra, maps, execution)


def _fit(
    spectra: Spectra,
    maps: Mapping[str, np.ndarray],
    config: Config,
    callback: Callback | None,
    functions: Functions,
    keeper: Keeper,
) -> Detector:
    image, normalisation = spectra.image, spectra.normalisation
    if not has_network(config):
        return Detector(config, {"params": {}, "constants": {}}, image.bands, normalisation, image.good_bands)
    key = keys(config)
    recipe = dataclasses.replace(config.train, max_pixels=min(config.train.max_pixels or config.sample, config.sample))
    kept = keeper.resume(image, config)
    if kept is None:
        chosen, view = suspects.training_pixels(key.sample, maps, image.pixels, recipe), _learn_view(spectra, config)
    else:
        chosen, view = kept.chosen, kept.view
    rings = ring_places(image, config, chosen)
    known = spectra.shared_at(chosen)
    if rings is not None:  # only what trains and the rings around it come to the device
        others = np.setdiff1d(rings, chosen)
        known = np.concatenate([known, spectra.shared_at(others)])
        table = np.concatenate([chosen, others])
        rings = np.argsort(table).astype(np.int32)[np.searchsorted(np.sort(table), rings)]
    known = known if view is None else view.apply(known)
    trained = np.arange(len(chosen), dtype=np.int32)
    model = build(config, known.shape[1], functions)
    variables = model.network.init(key.init)
    if config.network.precondition in ("wiener", "edm"):
        variance = jnp.asarray(known[trained].var(axis=0) + _LEAST_VARIANCE)
        variables = variables | {"constants": variables["constants"] | {"variance": variance}}
    state = train.init_state(variables, config.train, len(trained))
    state = state if kept is None else kept.restore(state)
    rings = None if rings is None else jnp.asarray(rings)
    with keeper.training(key.train, chosen, view, callback) as callback:
        state = train.fit(
            key.train, state, jnp.asarray(known), rings, jnp.asarray(trained), model.loss, config.train, callback
        )
    variables = parallel.agree(jax.device_get(state.variables))
    return Detector(config, variables, image.bands, normalisation, image.good_bands, view, functions)


def _learn_view(spectra: Spectra, config: Config) -> views.View | None:
    if config.view.kind == "identity":
        return None
    return views.learn(spectra.sample(config), config.view.kind, config.view.components)


def _score(detector: Detector, spectra: Spectra, maps: Mapping[str, np.ndarray], execution: Execution) -> np.ndarray:
    config, image = detector.config, spectra.image
    if has_network(config):
        maps = {**maps, "network": network_member(detector, spectra, execution)}
    values = members.fuse(image.valid, maps, config.fusion)
    if not np.isfinite(values).all():
        raise SceneError(
            f"{image.source}: expected finite scores, found {np.count_nonzero(~np.isfinite(values))} that are not; "
            "the scene's values lie far outside those the model was trained on"
        )
    return scene.to_map(image, values)


def _needs_closed_form(config: Config) -> bool:
    return set(config.fusion.members) != {"network"} or config.train.drop > 0
