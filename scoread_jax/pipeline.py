"""The whole road: a scene is fitted, scored and evaluated. What the command line and the benchmarks call."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scoread_jax import config as configuration
from scoread_jax import members, parallel, scene, suspects, train, views
from scoread_jax.config import Config
from scoread_jax.detect import AS_CONFIGURED, Detector, Functions
from scoread_jax.errors import SceneError
from scoread_jax.execution import PLAIN, Execution
from scoread_jax.keep import NOTHING_KEPT, Keeper
from scoread_jax.maps import Spectra, closed_form_members, has_network, keys, ring_places
from scoread_jax.model import Model, build
from scoread_jax.network import Variables
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
    spectra = _spectra(image, config)
    maps = closed_form_members(spectra, config, execution) if _needs_closed_form(config) else {}
    detector = _fit(spectra, maps, config, callback, functions, execution.keeper)
    return detector, _score(detector, spectra, maps, execution)


def detect_seeds(
    image: Scene, seeds: Sequence[int], config: Config | None = None, functions: Functions = AS_CONFIGURED
) -> list[np.ndarray]:
    """The maps of one recipe with several seeds: ``detect`` for each, but for the order of sums.

    The networks are trained together, each on one of the devices, but for those with a ring, with early stopping or on
    several devices, which are trained one after another.

    Args:
        image: the scene.
        seeds: each in place of ``config.seed``.
        config: the recipe; the default preset where None.
        functions: in place of those that the configuration names.

    Returns:
        A map a seed, each float32 [rows, cols].

    Raises:
        ConfigError: for a recipe that does not fit the scene.
        TrainingError: when training diverges.
    """
    config = configuration.load("default") if config is None else config
    recipes = [dataclasses.replace(config, seed=seed) for seed in seeds]
    spectra = _spectra(image, config)
    maps = [closed_form_members(spectra, one, PLAIN) if _needs_closed_form(one) else {} for one in recipes]
    detectors = _fit_together(spectra, maps, recipes, functions)
    return [_score(detector, spectra, own, PLAIN) for detector, own in zip(detectors, maps, strict=True)]


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
    spectra = _spectra(image, config)
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


def _spectra(image: Scene, config: Config) -> Spectra:
    """Those of a scene that is to be trained on; what cannot be is refused before anything is computed."""
    if has_network(config):
        train.check_batch(config.train, image.pixels)
    return Spectra(image, scene.global_min_max(image), None)


class _Prepared(NamedTuple):
    """What training starts from.

    Attributes:
        key: base key of the training.
        chosen: which pixels of the scene train, int32 [chosen].
        view: the coordinates in which the network sees the spectra.
        state: of the training.
        known: spectra of ``chosen``, then those of the rings around them, [known, coordinates].
        rings: int32 [chosen, ring] into ``known``, or None.
        model: network, process, loss.
    """

    key: jax.Array
    chosen: np.ndarray
    view: views.View | None
    state: train.TrainState
    known: np.ndarray
    rings: np.ndarray | None
    model: Model

    @property
    def trained(self) -> jax.Array:
        """Where ``chosen`` lie in ``known``."""
        return jnp.arange(len(self.chosen), dtype=jnp.int32)


def _fit(
    spectra: Spectra,
    maps: Mapping[str, np.ndarray],
    config: Config,
    callback: Callback | None,
    functions: Functions,
    keeper: Keeper,
) -> Detector:
    if not has_network(config):
        return _detector(spectra, config, {"params": {}, "constants": {}}, None, AS_CONFIGURED)
    start = _prepare(spectra, maps, config, functions, keeper)
    rings = None if start.rings is None else jnp.asarray(start.rings)
    with keeper.training(start.key, start.chosen, start.view, callback) as callback:
        state = train.fit(
            start.key, start.state, jnp.asarray(start.known), rings, start.trained,
            start.model.loss, config.train, callback,
        )  # fmt: skip
    variables = parallel.agree(jax.device_get(state.variables))
    return _detector(spectra, config, variables, start.view, functions)


def _fit_together(
    spectra: Spectra, maps: Sequence[Mapping[str, np.ndarray]], recipes: Sequence[Config], functions: Functions
) -> list[Detector]:
    """Detectors of recipes that differ by their seed alone."""
    config = recipes[0]
    apart = config.train.patience or config.train.devices > 1 or config.context.conditional
    if not has_network(config) or apart:
        return [_fit(spectra, own, one, None, functions, NOTHING_KEPT) for own, one in zip(maps, recipes, strict=True)]
    starts = [_prepare(spectra, own, one, functions, NOTHING_KEPT) for own, one in zip(maps, recipes, strict=True)]
    states = train.fit_together(
        jnp.stack([start.key for start in starts]),
        jax.tree.map(lambda *leaves: jnp.stack(leaves), *(start.state for start in starts)),
        jnp.stack([start.known for start in starts]),
        starts[0].trained,
        starts[0].model.loss,
        config.train,
    )
    every = jax.device_get(states.variables)
    return [
        _detector(spectra, one, jax.tree.map(lambda leaf, i=i: leaf[i], every), start.view, functions)
        for i, (one, start) in enumerate(zip(recipes, starts, strict=True))
    ]


def _prepare(
    spectra: Spectra, maps: Mapping[str, np.ndarray], config: Config, functions: Functions, keeper: Keeper
) -> _Prepared:
    image, key = spectra.image, keys(config)
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
    model = build(config, known.shape[1], functions, native=parallel.on_cpu())
    variables = model.network.init(key.init)
    if config.network.precondition in ("wiener", "edm"):
        variance = jnp.asarray(known[: len(chosen)].var(axis=0) + _LEAST_VARIANCE)
        variables = variables | {"constants": variables["constants"] | {"variance": variance}}
    state = train.init_state(variables, config.train, len(chosen))
    return _Prepared(key.train, chosen, view, state if kept is None else kept.restore(state), known, rings, model)


def _detector(
    spectra: Spectra, config: Config, variables: Variables, view: views.View | None, functions: Functions
) -> Detector:
    image = spectra.image
    return Detector(config, variables, image.bands, spectra.normalisation, image.good_bands, view, functions)


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
