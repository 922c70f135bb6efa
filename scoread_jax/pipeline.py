"""The whole road: a scene is fitted, scored and evaluated. What the command line and the benchmarks call."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scoread_jax import config as configuration
from scoread_jax import context, detect, loss, network, precondition, scene, sde, statistic, train
from scoread_jax.config import Config
from scoread_jax.detect import Detector
from scoread_jax.errors import SceneError
from scoread_jax.network import Apply, Network
from scoread_jax.scene import Scene
from scoread_jax.sde import SDE


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


def build(config: Config, bands: int) -> Model:
    """The functions named by a configuration, for spectra of ``bands`` bands."""
    process = sde.ExponentialVE(config.sde.sigma, config.sde.t_min, config.sde.t_max)
    sizes = dataclasses.asdict(config.network)
    net = network.build(sizes.pop("name"), bands, conditional=config.context.conditional, **sizes)
    score = precondition.over_std(process, net.apply)
    return Model(
        process,
        net,
        score,
        loss.denoising_score_matching(
            process,
            score,
            loss.WEIGHTINGS[config.train.weighting],
            loss.TIME_SAMPLERS[config.train.times],
            config.train.retain,
        ),
        statistic.STATISTICS[config.detect.statistic],
    )


def fit(
    image: Scene, config: Config | None = None, callback: Callable[[train.Progress], None] | None = None
) -> Detector:
    """Train a score model on all valid spectra of a scene. Ground truth is not looked at.

    Args:
        image: the scene.
        config: the recipe; the default preset where None.
        callback: called after each epoch.

    Raises:
        ConfigError: for a recipe that does not fit the scene.
        TrainingError: when training diverges.
    """
    config = configuration.load("default") if config is None else config
    normalisation = scene.global_min_max(image)
    spectra = jnp.asarray(scene.spectra(image, normalisation))
    model_bands = spectra.shape[1]
    model = build(config, model_bands)
    init_key, train_key, _ = _keys(config)
    variables = model.network.init(init_key)
    steps = train.steps_per_epoch(len(spectra), config.train.batch_size) * config.train.epochs
    state = train.init_state(variables, config.train, steps)
    state = train.fit(train_key, state, spectra, _rings(image, config), model.loss, config.train, callback)
    return Detector(config, jax.device_get(state.variables), model_bands, normalisation, image.good_bands)


def score(detector: Detector, image: Scene) -> np.ndarray:
    """The anomaly map of a scene in one compiled call.

    Args:
        detector: trained on this scene, or on one of the same sensor and units.
        image: the scene.

    Returns:
        float32 [rows, cols], higher = more anomalous, NaN where the scene is masked.

    Raises:
        SceneError: for a scene with other bands than the detector's.
    """
    config = detector.config
    normalisation = detector.normalisation or scene.global_min_max(image)
    spectra = jnp.asarray(scene.spectra(image, normalisation, detector.good_bands))
    if spectra.shape[1] != detector.bands:
        raise SceneError(
            f"{image.source}: expected {detector.bands} bands, as the detector was trained on, "
            f"found {spectra.shape[1]}; use a detector trained on this sensor and band list"
        )
    model = build(config, detector.bands)
    *_, score_key = _keys(config)
    chunk = config.detect.chunk or detect.chunk_size(len(spectra), config.detect.perturbations)
    scores = detect.pixel_scores(
        score_key,
        detector.variables,
        spectra,
        jnp.asarray(np.flatnonzero(image.valid), jnp.int32),
        _rings(image, config),
        jnp.asarray(config.detect.times, jnp.float32),
        sde=model.sde,
        score=model.score,
        statistic=model.statistic,
        perturbations=config.detect.perturbations,
        chunk=min(chunk, len(spectra)),
    )
    values = np.asarray(statistic.fuse_times(scores))
    if not np.isfinite(values).all():
        raise SceneError(
            f"{image.source}: expected finite scores, found {np.count_nonzero(~np.isfinite(values))} that are not; "
            "the scene's values lie far outside those the model was trained on"
        )
    return scene.to_map(image, values)


def _keys(config: Config) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Keys for initialisation, training and scoring."""
    init_key, train_key, score_key = jax.random.split(jax.random.key(config.seed), 3)
    return init_key, train_key, score_key


def _rings(image: Scene, config: Config) -> jax.Array | None:
    if not config.context.conditional:
        return None
    return jnp.asarray(context.ring_indices(image.valid, config.context.outer, config.context.inner))
