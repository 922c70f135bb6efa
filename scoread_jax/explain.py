"""Why a pixel scored high: its spectrum, the background most like it, and what pulls it there, band by band.

A *pull* is a denoised spectrum minus the pixel's own. Miyasawa's (Tweedie's) identity makes it the score: under noise
of variance σ², E[x₀ | x] − x = σ² ∇ log p(x) (Robbins 1956; Efron 2011, doi 10.1198/jasa.2011.tm11181). Each member of
the detector has one:

* ``network``: σ² · mean score of the perturbed copies at a noise time, from the trained network's own coordinates back
  to bands by the linear decoder of the scene;
* ``ring_gaussian``: −λ (C + λI)⁻¹ (x − μ) of the ring in which the pixel is farthest from its Gaussian, noise λ being
  the ridge; the part of x − μ that the ring's own variation does not explain;
* ``ring_nearest``: mean of the nearest spectra of the ring in which they are farthest, minus x;
* ``scene_nearest``: the same of the whole scene's background.

The map fuses the members' *lengths*, compared with the rest of the scene, and then looks at neighbouring pixels; a pull
says in which bands such a length lies, not how much each member weighed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scoread_jax import context, scene, views
from scoread_jax.closed_form import Ring
from scoread_jax.config import Config
from scoread_jax.detect import Detector
from scoread_jax.errors import SceneError
from scoread_jax.model import build
from scoread_jax.scene import Normalisation, Scene

_SAMPLE = 20_000  # spectra that stand for the scene
_BACKGROUND = 90  # percentile of the map below which a pixel counts as background
_PERTURBATIONS = 64  # pairs of noise and its mirror image
_STRONGEST = 5


@dataclasses.dataclass(frozen=True, eq=False)
class Explanation:
    """Of one pixel; spectra in the cube's units, of the scene's good bands.

    Attributes:
        row: counted from 0.
        col: counted from 0.
        score: of the map.
        spectrum: of the pixel, [bands].
        nearest: background spectrum most like it, [bands].
        nearest_row: where that lies.
        nearest_col: where that lies.
        pulls: by member, [bands]; of the network one for each noise time.
        strongest: by member, the bands of the file with the largest pull, in deviations of the background.
    """

    row: int
    col: int
    score: float
    spectrum: np.ndarray
    nearest: np.ndarray
    nearest_row: int
    nearest_col: int
    pulls: Mapping[str, np.ndarray]
    strongest: Mapping[str, list[int]]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        plain = dataclasses.asdict(self)
        lists = {name: values.tolist() for name, values in plain.items() if isinstance(values, np.ndarray)}
        return plain | lists | {"pulls": {name: values.tolist() for name, values in self.pulls.items()}}


@dataclasses.dataclass(frozen=True, eq=False)
class Surroundings:
    """What explanations of one scene share.

    Attributes:
        bands: good bands of the file, int [bands].
        mean: of the background, [bands], in the cube's units.
        deviation: of the background, [bands], in the cube's units.
    """

    bands: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray


def explain(
    image: Scene, anomaly_map: np.ndarray, places: np.ndarray, config: Config, detector: Detector | None = None
) -> tuple[Surroundings, list[Explanation]]:
    """Explain some pixels of a map.

    Args:
        image: the scene.
        anomaly_map: of the scene, [rows, cols].
        places: int [pixels, (row, col)].
        config: with the rings and neighbours of the closed-form members; those that ``fusion.members`` names count.
        detector: with the network; its pull is left out where None.

    Returns:
        What the pixels are compared with, and an explanation of each.

    Raises:
        SceneError: for a map of another size, another number of bands than the detector's, or a masked pixel.
    """
    _check(image, anomaly_map, places, detector)
    good = image.good_bands if detector is None or detector.good_bands is None else detector.good_bands
    scaling = (detector and detector.normalisation) or scene.global_min_max(image)
    position = np.full(image.valid.shape, -1, np.int64)
    position[image.valid] = np.arange(image.pixels)
    sample = scene.spectra_at(image, scaling, _thinned(np.arange(image.pixels)), good)
    scores = anomaly_map[image.valid]
    quiet = _thinned(np.flatnonzero(scores <= np.nanpercentile(scores, _BACKGROUND)))
    background = scene.spectra_at(image, scaling, quiet, good)
    spectra = _read(image, scaling, position[tuple(places.T)], good)
    view = views.learn(sample, config.closed_form.views[0], config.closed_form.components)
    pulls: list[dict[str, np.ndarray]] = [{} for _ in places]
    if detector is not None and "network" in config.fusion.members:
        found = _network_pulls(detector, image, position, places, scaling, spectra, sample)
        for number, t in enumerate(detector.config.detect.times):
            for own, pull in zip(pulls, found[:, number], strict=True):
                own[f"network, t = {t:g}"] = pull
    around = _Rings(image, scaling, good, position)
    for own, place, x in zip(pulls, places, spectra, strict=True):
        own |= _ring_pulls(around, place, x, sample, view, config)
    explanations, known = [], view.apply(background)
    deviation = background.std(axis=0) * scaling.scale
    for own, place, x, coordinates in zip(pulls, places, spectra, view.apply(spectra), strict=True):
        order = np.argsort(np.sum((known - coordinates) ** 2, axis=1), kind="stable")
        if "scene_nearest" in config.fusion.members:
            own["scene_nearest"] = background[order[: config.closed_form.neighbours[0]]].mean(axis=0) - x
        where = np.argwhere(image.valid)[quiet[order[0]]]
        in_units = {name: pull * scaling.scale for name, pull in own.items()}
        explanations.append(
            Explanation(
                row=int(place[0]),
                col=int(place[1]),
                score=float(anomaly_map[tuple(place)]),
                spectrum=x * scaling.scale + scaling.offset,
                nearest=background[order[0]] * scaling.scale + scaling.offset,
                nearest_row=int(where[0]),
                nearest_col=int(where[1]),
                pulls=in_units,
                strongest={name: _strongest(pull, deviation, good) for name, pull in in_units.items()},
            )
        )
    mean = background.mean(axis=0) * scaling.scale + scaling.offset
    return Surroundings(np.flatnonzero(good), mean, deviation), explanations


def _check(image: Scene, anomaly_map: np.ndarray, places: np.ndarray, detector: Detector | None) -> None:
    rows, cols = image.valid.shape
    if anomaly_map.shape != (rows, cols):
        raise SceneError(
            f"{image.source}: expected a map of the scene's {rows} × {cols} pixels, "
            f"found {' × '.join(map(str, anomaly_map.shape))}; give the map of this scene"
        )
    for row, col in places:
        if not (0 <= row < rows and 0 <= col < cols):
            raise SceneError(
                f"{image.source}: expected a pixel within {rows} rows and {cols} columns, counted from 0, "
                f"found row {row}, column {col}"
            )
        if not image.valid[row, col] or np.isnan(anomaly_map[row, col]):
            raise SceneError(f"{image.source}: expected a scored pixel, found row {row}, column {col} masked")
    if detector is not None:
        good = image.good_bands if detector.good_bands is None else detector.good_bands
        if good.shape != image.good_bands.shape or np.count_nonzero(good) != detector.bands:
            raise SceneError(
                f"{image.source}: expected {detector.bands} bands, as the detector was trained on, "
                f"found {image.bands}; use the detector of this scene"
            )


def _thinned(places: np.ndarray) -> np.ndarray:
    return places[:: -(-len(places) // _SAMPLE)]


def _read(image: Scene, scaling: Normalisation, wanted: np.ndarray, good: np.ndarray) -> np.ndarray:
    """Normalised spectra in any order, [pixels, bands]."""
    sorted_places, back = np.unique(wanted, return_inverse=True)
    return scene.spectra_at(image, scaling, sorted_places, good)[back]


@dataclasses.dataclass(frozen=True, eq=False)
class _Rings:
    """Spectra of the rings of a scene's pixels."""

    image: Scene
    scaling: Normalisation
    good: np.ndarray
    position: np.ndarray

    def of(self, place: np.ndarray, ring: Ring) -> np.ndarray:
        """Those of one pixel, without what lies outside of the scene or is masked, [ring, bands]."""
        inner, outer = ring
        around = place + context.ring_offsets(outer, inner)
        around = around[((around >= 0) & (around < self.image.valid.shape)).all(axis=1)]
        members = self.position[tuple(around.T)]
        return _read(self.image, self.scaling, members[members >= 0], self.good)


def _ring_pulls(
    around: _Rings, place: np.ndarray, x: np.ndarray, sample: np.ndarray, view: views.View, config: Config
) -> dict[str, np.ndarray]:
    """Pulls of the closed-form members that look at rings, normalised, [bands] each."""
    form, pulls = config.closed_form, {}
    here = view.apply(x[None])[0]
    if "ring_nearest" in config.fusion.members:
        candidates = []
        for ring in form.nearest_rings:
            spectra = around.of(place, ring)
            if len(spectra):
                distance = np.linalg.norm(view.apply(spectra) - here, axis=1)
                nearest = np.argsort(distance, kind="stable")[: form.neighbours[0]]
                candidates.append((distance[nearest].mean(), spectra[nearest].mean(axis=0) - x))
        if candidates:
            pulls["ring_nearest"] = max(candidates, key=lambda one: one[0])[1]
    if "ring_gaussian" in config.fusion.members:
        leading = min(form.gaussian_components, view.basis.shape[1])
        known = view.apply(sample)[:, :leading].astype(np.float64)
        ridge = form.ridge * max(known.var(axis=0).sum(), np.finfo(np.float32).tiny)
        candidates = []
        for ring in form.gaussian_rings:
            spectra = around.of(place, ring)
            if len(spectra):
                coordinates = view.apply(spectra)[:, :leading].astype(np.float64)
                difference = here[:leading] - coordinates.mean(axis=0)
                covariance = np.atleast_2d(np.cov(coordinates.T, bias=True)) + ridge * np.eye(leading)
                pull = -np.linalg.solve(covariance, difference)
                candidates.append((-difference @ pull, ridge * pull))
        if candidates:
            best = max(candidates, key=lambda one: one[0])[1]
            pulls["ring_gaussian"] = (best @ _decoder(view, sample)[:leading]) * _slope(view, x)
    return pulls


def _network_pulls(
    detector: Detector,
    image: Scene,
    position: np.ndarray,
    places: np.ndarray,
    scaling: Normalisation,
    spectra: np.ndarray,
    sample: np.ndarray,
) -> np.ndarray:
    """``σ² mean_k s(x + σ z_k) / scale`` at the detector's noise times, normalised, [pixels, times, bands]."""
    config, view = detector.config, detector.view
    known = spectra if view is None else view.apply(spectra)
    model = build(config, known.shape[1], detector.functions)
    rings = None
    if config.context.conditional:
        good = image.good_bands if detector.good_bands is None else detector.good_bands
        members = context.ring_indices(
            image.valid, config.context.outer, config.context.inner, position[tuple(places.T)]
        )
        read = [_read(image, scaling, own, good) for own in members]
        rings = jnp.asarray(np.stack(read if view is None else [view.apply(each) for each in read]))
    noise = jax.random.normal(jax.random.key(config.seed), (_PERTURBATIONS, known.shape[1]))
    noise = jnp.concatenate([noise, -noise])

    def pull(x: jax.Array, ring: jax.Array | None) -> jax.Array:
        def at_time(t: jax.Array) -> jax.Array:
            scale, std = model.sde.marginal(t)
            scores = jax.vmap(lambda z: model.score(detector.variables, scale * x + std * z, t, ring))(noise)
            return std**2 * jnp.mean(scores, axis=0) / scale

        return jax.lax.map(at_time, jnp.asarray(config.detect.times, jnp.float32))

    found = np.asarray(jax.jit(jax.vmap(pull, in_axes=(0, None if rings is None else 0)))(jnp.asarray(known), rings))
    if view is None:
        return found
    slopes = np.stack([_slope(view, x) for x in spectra])
    return (found @ _decoder(view, sample)) * slopes[:, None, :]


def _decoder(view: views.View, sample: np.ndarray) -> np.ndarray:
    """The linear map from coordinates back to (rooted) bands that fits the scene best, [components, bands]."""
    values = np.sqrt(np.maximum(sample, 0)) if view.root else sample
    return np.linalg.lstsq(view.apply(sample), values - view.centre, rcond=None)[0]


def _slope(view: views.View, x: np.ndarray) -> np.ndarray:
    """Derivative of the spectrum by what the view is linear in, [bands]."""
    return 2 * np.sqrt(np.maximum(x, 0)) if view.root else np.ones_like(x)


def _strongest(pull: np.ndarray, deviation: np.ndarray, good: np.ndarray) -> list[int]:
    relative = np.abs(pull) / np.maximum(deviation, np.finfo(np.float32).tiny)
    return [int(band) for band in np.flatnonzero(good)[np.argsort(-relative, kind="stable")[:_STRONGEST]]]
