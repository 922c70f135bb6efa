"""Explanations: a pull is what its formula says, and the command shows the right pixel."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from scoread_jax import cli, config, context, explain, scene, views
from scoread_jax.detect import Detector, Functions
from scoread_jax.errors import SceneError
from scoread_jax.network import Network
from scoread_jax.scene import make_scene

ROWS, COLS, BANDS = 24, 20, 7
PLACE = (10, 8)
DEFAULT = config.replace(config.load("default"), {"closed_form.components": BANDS, "view.components": BANDS})


@pytest.fixture(scope="module")
def image():
    """Correlated background in counts, and one pixel with a line in band 4."""
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(ROWS, COLS, 2)) @ rng.normal(size=(2, BANDS))
    cube = 1000 + 100 * factors + 10 * rng.normal(size=(ROWS, COLS, BANDS))
    cube[PLACE][4] += 900
    mask = np.ones((ROWS, COLS))
    mask[0, :5] = 0
    return make_scene(cube, mask=mask, wavelengths=np.linspace(2400, 400, BANDS), name="<scene>")


@pytest.fixture(scope="module")
def scores(image):
    found = np.random.default_rng(1).random((ROWS, COLS))
    found[PLACE] = 9.0
    found[~image.valid] = np.nan
    return found


def one(image, scores, recipe=DEFAULT, detector=None, place=PLACE):
    around, (found,) = explain.explain(image, scores, np.array([place]), recipe, detector)
    return around, found


def test_the_line_is_where_every_member_pulls(image, scores):
    around, found = one(image, scores)
    assert (found.row, found.col, found.score) == (*PLACE, 9.0)
    np.testing.assert_allclose(found.spectrum, image.cube[PLACE], rtol=1e-5)
    np.testing.assert_allclose(found.nearest, image.cube[found.nearest_row, found.nearest_col], rtol=1e-5)
    assert list(found.pulls) == ["ring_nearest", "ring_gaussian", "scene_nearest"]
    for name, bands in found.strongest.items():
        assert bands[0] == 4, name
        assert found.pulls[name][4] < -500
    assert scores[found.nearest_row, found.nearest_col] <= np.nanpercentile(scores, 90)
    assert around.mean.shape == around.deviation.shape == (BANDS,)


def test_a_pull_of_neighbours_ends_at_their_mean(image, scores):
    _, found = one(image, scores)
    scaling = scene.global_min_max(image)
    view = views.learn(scene.spectra(image, scaling), "standardised", BANDS)
    coordinates = np.full((ROWS, COLS, BANDS), np.nan, np.float32)
    coordinates[image.valid] = view.apply(scene.spectra(image, scaling))
    best = (-1.0, np.zeros(BANDS))
    for inner, outer in DEFAULT.closed_form.nearest_rings:
        ring = context.ring_offsets(outer, inner) + PLACE
        ring = [(row, col) for row, col in ring if 0 <= row < ROWS and 0 <= col < COLS and image.valid[row, col]]
        distance = {place: np.linalg.norm(coordinates[place] - coordinates[PLACE]) for place in ring}
        nearest = sorted(ring, key=lambda place: distance[place])[:3]
        best = max(best, (np.mean([distance[p] for p in nearest]), np.mean([image.cube[p] for p in nearest], axis=0)),
                   key=lambda pair: pair[0])  # fmt: skip
    np.testing.assert_allclose(found.spectrum + found.pulls["ring_nearest"], best[1], rtol=1e-4)


def test_a_gaussian_pull_is_the_conditional_mean(image, scores):
    """In closed form, from the ring's mean and covariance; all components kept, so bands come back exactly."""
    _, found = one(image, scores)
    scaling = scene.global_min_max(image)
    normalised = scene.spectra(image, scaling)
    cube = np.full((ROWS, COLS, BANDS), np.nan)
    cube[image.valid] = normalised
    view = views.learn(normalised, "standardised", BANDS)
    known = view.apply(normalised).astype(np.float64)
    ridge = DEFAULT.closed_form.ridge * known.var(axis=0).sum()
    basis = view.basis.astype(np.float64)
    best = (-1.0, np.zeros(BANDS))
    for inner, outer in DEFAULT.closed_form.gaussian_rings:
        ring = context.ring_offsets(outer, inner) + PLACE
        ring = np.array([p for p in ring if 0 <= p[0] < ROWS and 0 <= p[1] < COLS and image.valid[tuple(p)]])
        coordinates = (cube[ring[:, 0], ring[:, 1]] - view.centre) @ basis
        covariance = np.cov(coordinates.T, bias=True)
        difference = (cube[PLACE] - view.centre) @ basis - coordinates.mean(axis=0)
        conditional_mean = coordinates.mean(axis=0) + covariance @ np.linalg.solve(
            covariance + ridge * np.eye(BANDS), difference
        )
        length = difference @ np.linalg.solve(covariance + ridge * np.eye(BANDS), difference)
        denoised = conditional_mean @ np.linalg.inv(basis) + view.centre
        best = max(best, (length, denoised), key=lambda pair: pair[0])
    expected = (best[1] - cube[PLACE]) * scaling.scale
    np.testing.assert_allclose(found.pulls["ring_gaussian"], expected, rtol=2e-3, atol=0.5)


@pytest.mark.parametrize("kind", ["identity", "standardised"])
def test_a_network_pull_is_the_smoothed_score(image, scores, kind):
    """A network that is a Gaussian's score: σ² s = −σ² / (σ² + v) (x − m), and noise in pairs cancels in the mean."""
    mean, variance = 0.3, 0.5
    recipe = config.replace(
        DEFAULT, {"network.precondition": "over_std", "view.kind": kind, "detect.times": [0.5, 2.0]}
    )

    def make(bands, conditional):
        def apply(variables, x, t, ring):
            return -(x - mean) * t / (t**2 + variance)  # over_std divides by σ = t

        return Network(lambda key: {"params": {}, "constants": {}}, apply, 1)

    scaling = scene.global_min_max(image)
    normalised = scene.spectra(image, scaling)
    view = None if kind == "identity" else views.learn(normalised, kind, BANDS)
    detector = Detector(
        recipe, {"params": {}, "constants": {}}, BANDS, scaling, image.good_bands, view, Functions(network=make)
    )
    _, found = one(image, scores, recipe, detector)
    x = (image.cube[PLACE] - scaling.offset) / scaling.scale
    for t in (0.5, 2.0):
        coordinates = x if view is None else (x - view.centre) @ view.basis
        pull = -(t**2) / (t**2 + variance) * (coordinates - mean)
        pull = pull if view is None else pull @ np.linalg.inv(view.basis.astype(np.float64))
        np.testing.assert_allclose(found.pulls[f"network, t = {t:g}"], pull * scaling.scale, rtol=5e-3, atol=0.5)


def test_the_root_view_comes_back_to_bands(image, scores):
    recipe = config.replace(DEFAULT, {"closed_form.views": ["root"]})
    _, found = one(image, scores, recipe)
    assert found.strongest["ring_gaussian"][0] == 4
    assert found.pulls["ring_gaussian"][4] == pytest.approx(-900, rel=0.5)  # to first order


def test_what_cannot_be_explained_is_refused(image, scores):
    for place, words in (((0, 0), "masked"), ((24, 0), "found row 24, column 0"), ((0, -1), "column -1")):
        with pytest.raises(SceneError, match=words):
            one(image, scores, place=place)
    with pytest.raises(SceneError, match="map of the scene's 24 × 20 pixels, found 20 × 24"):
        one(image, scores.T)
    other = Detector(DEFAULT, {}, 5, None, np.ones(5, bool))
    with pytest.raises(SceneError, match="expected 5 bands, as the detector was trained on, found 7"):
        one(image, scores, detector=other)


def test_the_command(tmp_path, image, scores, capsys):
    np.savez(tmp_path / "scene.npz", data=image.cube, valid=image.valid, wavelengths=image.wavelengths)
    np.save(tmp_path / "map.npy", scores)
    asked = ["explain", str(tmp_path / "scene.npz"), str(tmp_path / "map.npy")]
    assert cli.main([*asked, "--top", "2", "-o", str(tmp_path / "out")]) == 0
    assert "row 10, column 8: score 9" in capsys.readouterr().out
    record = json.loads((tmp_path / "out" / "explanation.json").read_text())
    assert len(record["pixels"]) == 2
    assert record["wavelengths"] == pytest.approx(np.linspace(2400, 400, BANDS))
    assert record["pixels"][0]["strongest"]["ring_nearest"][0] == 4
    assert Image.open(tmp_path / "out" / "explain-10-8.png").size == (1320, 984)
    for arguments, words in (
        (["--pixel", "10;8"], "expected ROW,COLUMN such as 44,68"),
        (["--pixel", "99,8"], "found row 99, column 8"),
        (["--top", "0"], "--top must be 1 or more"),
        (["--top", "1", "--config", "scoread-hydice"], "give the detector that made the map with -d"),
        ([], "one of the arguments --pixel --top is required"),
        (["--top", "1", "-d", "nowhere"], "nowhere"),
    ):
        assert cli.main([*asked, *arguments, "-o", str(tmp_path / "none")]) == 2
        error = capsys.readouterr().err
        assert words in error
        assert error.count("\n") == 1
    assert not (tmp_path / "none").exists()
