"""Single spectra, with no image around them: the members of the detector that look at no surroundings.

A sample is judged by itself. All samples meet the same noise, and what they are compared with, the law of every
member on the background, is that of the training samples; so a score does not depend on what else is scored.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from scoread_jax import closed_form, config, pipeline, scene, scoring, views
from scoread_jax.closed_form import References
from scoread_jax.config import Config
from scoread_jax.detect import Detector
from scoread_jax.errors import ConfigError
from scoread_jax.fusion import Null, calibrated_null, null, weighted_mean
from scoread_jax.scene import Normalisation
from scoread_jax.views import View

MEMBERS = ("network", "scene_nearest")
"""Those that need no surroundings."""

_FUSE_TIMES = {"mean_z": np.mean, "max_z": np.max}

# Samples scored in one call are filled up to a power of two between these, so that few calls are compiled.
_LEAST, _MOST = 64, 4096


@dataclasses.dataclass(frozen=True, eq=False)
class SampleDetector:
    """All that is needed to score single spectra.

    Attributes:
        config: what it was made with, reduced to ``MEMBERS``.
        network: trained, or None where it is no member.
        normalisation: of the training samples, for ``scene_nearest``.
        bands: those that vary, bool [bands].
        views: coordinates of ``scene_nearest``.
        references: of ``scene_nearest``, one for each view.
        known: the normalised spectra of the references, as bytes, and where each lies among the training samples.
        nulls: the law on the training samples: of each time of the network, of each view, of each member (by its
            name) and of the result (``"all"``).
    """

    config: Config
    network: Detector | None
    normalisation: Normalisation
    bands: np.ndarray
    views: tuple[View, ...]
    references: tuple[References, ...]
    known: Mapping[bytes, int]
    nulls: Mapping[Any, Null]


def fit(samples: np.ndarray, recipe: Config) -> SampleDetector:
    """Learn from samples without labels.

    Args:
        samples: finite, any unit, [samples, bands].
        recipe: the recipe; of its members, those in ``MEMBERS`` count, scene_nearest with the weight of the rings too.

    Raises:
        ConfigError: for a recipe that needs surroundings, or compares the scored samples with each other.
        SceneError: for samples without two varying bands.
        TrainingError: when training diverges.
    """
    recipe = _without_surroundings(recipe)
    image = scene.make_scene(samples[:, None, :], source="samples")
    normalisation, bands = scene.global_min_max(image), image.good_bands
    spectra = _normalised(samples, normalisation, bands)
    form = recipe.closed_form
    places = closed_form.reference_places(jax.random.key(recipe.seed), len(samples), form.scene_references)
    nearest = closed_form.nearest_of(form.scene_neighbours, len(places), len(samples))
    learned = tuple(views.learn(spectra, kind, form.components) for kind in form.views)
    references = tuple(References(view.apply(spectra[places]), places, nearest) for view in learned)
    known = {spectra[place].tobytes(): int(place) for place in places}
    fitted = SampleDetector(recipe, None, normalisation, bands, learned, references, known, {})
    nulls: dict[Any, Null] = {}
    suspicion = None
    if "scene_nearest" in recipe.fusion.members or recipe.train.drop:
        suspicion = _learn_nulls(_nearest(fitted, samples), nulls, "scene_nearest", np.mean, recipe)
    if "network" in recipe.fusion.members:
        fitted = dataclasses.replace(fitted, network=_train(samples, suspicion, recipe))
        _learn_nulls(_network(fitted, samples), nulls, "network", _FUSE_TIMES[recipe.detect.time_fusion], recipe)
    fitted = dataclasses.replace(fitted, nulls=nulls)
    return dataclasses.replace(fitted, nulls=nulls | {"all": null(_fused(fitted, samples))})


def score(fitted: SampleDetector, samples: np.ndarray) -> np.ndarray:
    """How anomalous each sample is.

    Args:
        fitted: to samples of the same bands and units.
        samples: finite, [samples, bands].

    Returns:
        float64 [samples], in robust standard deviations of the training samples, whose median is 0.
    """
    return fitted.nulls["all"].z(_fused(fitted, samples))


def _fused(fitted: SampleDetector, samples: np.ndarray) -> np.ndarray:
    recipe, nulls = fitted.config, fitted.nulls
    ways = {
        "network": (_network, _FUSE_TIMES[recipe.detect.time_fusion]),
        "scene_nearest": (_nearest, np.mean),
    }
    found = []
    for name in recipe.fusion.members:
        member, fuse = ways[name]
        parts = [nulls[name, number].z(part) for number, part in enumerate(member(fitted, samples))]
        found.append(nulls[name].z(fuse(parts, axis=0)))
    return weighted_mean(found, recipe.fusion.weights)


def _learn_nulls(parts: np.ndarray, nulls: dict[Any, Null], name: str, fuse: Any, recipe: Config) -> np.ndarray:
    """Learn the law of a member's parts, [parts, samples], and of what they become; return that, [samples]."""
    nulls |= {(name, number): calibrated_null(part) for number, part in enumerate(parts)}
    fused = fuse([nulls[name, number].z(part) for number, part in enumerate(parts)], axis=0)
    nulls[name] = null(fused, recipe.fusion.linear_to, recipe.fusion.veto)
    return fused


def _train(samples: np.ndarray, suspicion: np.ndarray | None, recipe: Config) -> Detector:
    """Train the network on all samples but the most suspicious."""
    kept = np.ones(len(samples), bool)
    if suspicion is not None and recipe.train.drop:
        kept[np.argsort(suspicion, kind="stable")[max(2, round(len(samples) * (1 - recipe.train.drop))) :]] = False
    image = scene.make_scene(samples[:, None, :], mask=kept[:, None], source="samples")
    batch = min(recipe.train.batch_size, image.pixels)
    values = {"train.drop": 0.0, "train.batch_size": batch, "train.devices": math.gcd(recipe.train.devices, batch)}
    values |= {"fusion.members": ("network",), "fusion.weights": (1.0,)}
    return pipeline.fit(image, config.replace(recipe, values))


def _network(fitted: SampleDetector, samples: np.ndarray) -> np.ndarray:
    """The statistic of each sample at each noise time, [times, samples]."""
    detector = fitted.network
    if detector is None or detector.normalisation is None or detector.good_bands is None:
        raise ConfigError("expected a trained network among the members, found none")
    spectra = _normalised(samples, detector.normalisation, detector.good_bands)
    spectra = spectra if detector.view is None else detector.view.apply(spectra)
    places = np.zeros(len(spectra), np.int32)  # the same noise for all
    parts = [
        scoring.network_scores(detector, spectra[part], places[part], pixels=at_least, at_least=at_least)
        for part, at_least in _parts(len(spectra))
    ]
    return np.concatenate(parts, axis=1)


def _nearest(fitted: SampleDetector, samples: np.ndarray) -> np.ndarray:
    """Length of the empirical density's score in each view, [views, samples]; a reference is not its own neighbour."""
    spectra = _normalised(samples, fitted.normalisation, fitted.bands)
    places = np.array([fitted.known.get(one.tobytes(), -1) for one in spectra], np.int32)
    found = []
    for view, references in zip(fitted.views, fitted.references, strict=True):
        coordinates = view.apply(spectra)
        parts = [
            closed_form.scene_scores(references, coordinates[part], places[part], at_least)
            for part, at_least in _parts(len(spectra))
        ]
        found.append(np.concatenate(parts))
    return np.stack(found)


def _parts(samples: int) -> list[tuple[slice, int]]:
    """Which samples are scored in a call, and to how many the call is filled up."""
    return [
        (slice(start, start + _MOST), min(_MOST, max(_LEAST, 1 << (samples - start - 1).bit_length())))
        for start in range(0, samples, _MOST)
    ]


def _normalised(samples: np.ndarray, normalisation: Normalisation, bands: np.ndarray) -> np.ndarray:
    return ((samples[:, bands] - normalisation.offset) / normalisation.scale).astype(np.float32)


def _without_surroundings(recipe: Config) -> Config:
    if recipe.context.conditional:
        raise ConfigError(
            f"samples have no surroundings: expected context.outer = 0, found {recipe.context.outer}; "
            "choose an unconditional configuration, or score the image as a scene"
        )
    if len(recipe.detect.times) > 1 and recipe.detect.time_fusion not in _FUSE_TIMES:
        raise ConfigError(
            f"each sample is scored by itself: expected detect.time_fusion {' or '.join(_FUSE_TIMES)}, found "
            f"{recipe.detect.time_fusion}, which compares samples with each other"
        )
    weights = dict(zip(recipe.fusion.members, recipe.fusion.weights, strict=True))
    kept = {name: weights[name] for name in MEMBERS if weights.get(name)}
    if not kept:
        raise ConfigError(
            f"samples have no surroundings: expected {' or '.join(MEMBERS)} in fusion.members, found only "
            f"{', '.join(recipe.fusion.members)}; add one of them"
        )
    if "scene_nearest" in kept:  # it answers the network for the rings too
        kept["scene_nearest"] = sum(weight for name, weight in weights.items() if name != "network")
    return config.replace(recipe, {"fusion.members": tuple(kept), "fusion.weights": tuple(kept.values())})
