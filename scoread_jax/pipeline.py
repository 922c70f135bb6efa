"""The whole road: a scene is fitted, scored and evaluated. What the command line and the benchmarks call."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scoread_jax import config as configuration
from scoread_jax import context, fusion, loss, members, network, precondition, scene, sde, statistic, train, views
from scoread_jax.config import Config
from scoread_jax.detect import AS_CONFIGURED, Detector, Functions, chunk_size, pixel_scores
from scoread_jax.errors import ConfigError, SceneError
from scoread_jax.network import Apply, Network
from scoread_jax.scene import Scene
from scoread_jax.sde import SDE

Callback = Callable[[train.Progress], None]

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
    )
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
) -> tuple[Detector, np.ndarray]:
    """Train on a scene and score it: ``fit`` and ``score``, with what they share computed once.

    Args:
        image: the scene.
        config: the recipe; the default preset where None.
        callback: called after each epoch.
        functions: in place of those that the configuration names.

    Returns:
        The detector, and the map float32 [rows, cols].

    Raises:
        ConfigError: for a recipe that does not fit the scene.
        TrainingError: when training diverges.
    """
    config = configuration.load("default") if config is None else config
    spectra = scene.spectra(image, scene.global_min_max(image))
    maps = _closed_form(image, spectra, config) if _needs_closed_form(config) else {}
    detector = _fit(image, spectra, maps, config, callback, functions)
    return detector, _score(detector, image, spectra, maps)


def fit(
    image: Scene,
    config: Config | None = None,
    callback: Callback | None = None,
    functions: Functions = AS_CONFIGURED,
) -> Detector:
    """Train a score model on the valid spectra of a scene. Ground truth is not looked at.

    Args:
        image: the scene.
        config: the recipe; the default preset where None.
        callback: called after each epoch.
        functions: in place of those that the configuration names.

    Raises:
        ConfigError: for a recipe that does not fit the scene.
        TrainingError: when training diverges.
    """
    config = configuration.load("default") if config is None else config
    spectra = scene.spectra(image, scene.global_min_max(image))
    maps = _closed_form(image, spectra, config) if config.train.drop and _has_network(config) else {}
    return _fit(image, spectra, maps, config, callback, functions)


def score(detector: Detector, image: Scene) -> np.ndarray:
    """The anomaly map of a scene.

    Args:
        detector: trained on this scene, or on one of the same sensor and units.
        image: the scene.

    Returns:
        float32 [rows, cols], higher = more anomalous, NaN where the scene is masked.

    Raises:
        SceneError: for a scene with other bands than the detector's.
    """
    normalisation = detector.normalisation or scene.global_min_max(image)
    spectra = scene.spectra(image, normalisation, detector.good_bands)
    if spectra.shape[1] != detector.bands:
        raise SceneError(
            f"{image.source}: expected {detector.bands} bands, as the detector was trained on, "
            f"found {spectra.shape[1]}; use a detector trained on this sensor and band list"
        )
    wanted = set(detector.config.fusion.members) - {"network"}
    maps = _closed_form(image, spectra, detector.config) if wanted else {}
    return _score(detector, image, spectra, maps)


def _fit(
    image: Scene,
    spectra: np.ndarray,
    maps: Mapping[str, np.ndarray],
    config: Config,
    callback: Callback | None,
    functions: Functions,
) -> Detector:
    normalisation, bands = scene.global_min_max(image), spectra.shape[1]
    if not _has_network(config):
        return Detector(config, {"params": {}, "constants": {}}, bands, normalisation, image.good_bands)
    keys = _keys(config)
    chosen = members.training_pixels(keys.sample, maps, len(spectra), config.train)
    view = None
    if config.view.kind != "identity":
        view = views.learn(spectra, config.view.kind, config.view.components)
        spectra = view.apply(spectra)
    model = build(config, spectra.shape[1], functions)
    variables = model.network.init(keys.init)
    if config.network.precondition == "wiener":
        variance = jnp.asarray(spectra[chosen].var(axis=0) + _LEAST_VARIANCE)
        variables = variables | {"constants": variables["constants"] | {"variance": variance}}
    state = train.fit(
        keys.train,
        train.init_state(variables, config.train, len(chosen)),
        jnp.asarray(spectra),
        _rings(image, config),
        jnp.asarray(chosen),
        model.loss,
        config.train,
        callback,
    )
    return Detector(config, jax.device_get(state.variables), bands, normalisation, image.good_bands, view, functions)


def _score(detector: Detector, image: Scene, spectra: np.ndarray, maps: Mapping[str, np.ndarray]) -> np.ndarray:
    config = detector.config
    if _has_network(config):
        maps = {**maps, "network": _network_member(detector, image, spectra)}
    values = members.fuse(image.valid, maps, config.fusion)
    if not np.isfinite(values).all():
        raise SceneError(
            f"{image.source}: expected finite scores, found {np.count_nonzero(~np.isfinite(values))} that are not; "
            "the scene's values lie far outside those the model was trained on"
        )
    return scene.to_map(image, values)


def _network_member(detector: Detector, image: Scene, spectra: np.ndarray) -> np.ndarray:
    config = detector.config
    if detector.view is not None:
        spectra = detector.view.apply(spectra)
    model = build(config, spectra.shape[1], detector.functions)
    perturbations = config.detect.perturbations
    chunk = config.detect.chunk or chunk_size(len(spectra), perturbations, model.network.evaluation_bytes)
    scores = pixel_scores(
        _keys(config).score,
        detector.variables,
        jnp.asarray(spectra),
        jnp.asarray(np.flatnonzero(image.valid), jnp.int32),
        _rings(image, config),
        jnp.asarray(config.detect.times, jnp.float32),
        sde=model.sde,
        score=model.score,
        statistic=model.statistic,
        perturbations=perturbations,
        antithetic=config.detect.antithetic,
        chunk=min(chunk, len(spectra)),
    )
    return fusion.fuse_times(np.asarray(scores))


def _closed_form(image: Scene, spectra: np.ndarray, config: Config) -> dict[str, np.ndarray]:
    return members.closed_form_members(_keys(config).references, image.valid, spectra, config.closed_form)


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


def _keys(config: Config) -> _Keys:
    return _Keys(*jax.random.split(jax.random.key(config.seed), len(_Keys._fields)))


def _rings(image: Scene, config: Config) -> jax.Array | None:
    if not config.context.conditional:
        return None
    return jnp.asarray(context.ring_indices(image.valid, config.context.outer, config.context.inner))
