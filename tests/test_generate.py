"""Spectra drawn from a detector: of the scene's law and units, written and drawn by the command."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from scoread_jax import checkpoint, cli, config, generate, pipeline, scene, views
from scoread_jax.errors import ConfigError
from scoread_jax.report.drawn import drawn_figure
from scoread_jax.scene import make_scene

BANDS = 8
RECIPE = config.replace(
    config.load("default"),
    {
        "train.steps": 400, "train.batch_size": 64, "train.drop": 0.0, "view.components": 4, "network.hidden": 16,
        "network.blocks": 1, "network.embedding": 8, "fusion.members": ["network"], "fusion.weights": [1.0],
    },
)  # fmt: skip


def made(rows=24, cols=25):
    """Two mixed materials with an offset and a scale far from [0, 1], and correlated bands."""
    rng = np.random.default_rng(0)
    share = rng.random((rows, cols, 1))
    ends = np.stack([np.linspace(900, 2500, BANDS), 1500 + 500 * np.sin(np.arange(BANDS))])
    noise = rng.normal(0, 20, (rows, cols, BANDS))
    return make_scene((share * ends[0] + (1 - share) * ends[1] + noise).astype(np.float32), name="made")


@pytest.fixture(scope="module")
def detector():
    return pipeline.fit(made(), RECIPE)


def test_drawn_spectra_have_the_scenes_mean_and_covariance(detector):
    """In the units of the file: within a tenth of the spread, whatever the network made of it."""
    real, drawn = made().cube.reshape(-1, BANDS), generate.spectra(detector, 1500)
    assert drawn.shape == (1500, BANDS)
    assert drawn.dtype == np.float32
    np.testing.assert_allclose(drawn.mean(axis=0), real.mean(axis=0), atol=0.1 * real.std())
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(real.T), atol=0.15 * np.cov(real.T).max())


def test_draws_are_those_of_their_seed(detector):
    few = generate.spectra(detector, 5, steps=8)
    np.testing.assert_array_equal(generate.spectra(detector, 5, steps=8, seed=RECIPE.seed), few)
    assert not np.allclose(generate.spectra(detector, 5, steps=8, seed=7), few, rtol=1e-3)


@pytest.mark.parametrize("kind", ["standardised", "root"])
def test_undo_is_the_inverse_of_apply(kind):
    """Exactly with all components; with fewer, what is left out is orthogonal to what is kept."""
    image = made()
    spectra = scene.spectra(image, scene.global_min_max(image))
    whole = views.learn(spectra, kind, BANDS)
    np.testing.assert_allclose(whole.undo(whole.apply(spectra)), spectra, atol=1e-4)
    few = views.learn(spectra, kind, 2)
    again = few.apply(few.undo(few.apply(spectra)))
    np.testing.assert_allclose(again, few.apply(spectra), atol=1e-3)


def test_detectors_that_cannot_draw(detector):
    ringed = config.replace(RECIPE, {"context.outer": 5, "context.inner": 3})
    for recipe, words in (
        (ringed, "context.outer = 5"),
        (config.replace(RECIPE, {"fusion.members": ["ring_nearest"]}), "nothing to draw from"),
    ):
        with pytest.raises(ConfigError, match=words):
            generate.spectra(dataclasses.replace(detector, config=recipe), 3)
    with pytest.raises(ConfigError, match="samplers heun"):
        generate.spectra(detector, 3, "magic")
    old = dataclasses.replace(detector, view=dataclasses.replace(detector.view, inverse=None))
    with pytest.raises(ConfigError, match="train the detector again"):
        generate.spectra(old, 3, steps=8)


def test_the_command(detector, tmp_path, capsys):
    checkpoint.save(tmp_path / "detector", detector)
    np.save(tmp_path / "scene.npy", made().cube)
    out = tmp_path / "out"
    options = ["-d", str(tmp_path / "detector"), "-n", "40", "--steps", "8", "-o", str(out)]
    assert cli.main(["sample", str(tmp_path / "scene.npy"), *options]) == 0
    capsys.readouterr()
    assert np.load(out / "samples.npy").shape == (40, BANDS)
    assert (out / "samples.png").stat().st_size > 10_000
    np.save(tmp_path / "other.npy", made().cube[:, :, :5])
    assert cli.main(["sample", str(tmp_path / "other.npy"), *options]) == 2
    assert cli.main(["sample", *options, "--sampler", "magic"]) == 2
    assert "found magic" in capsys.readouterr().err


def test_a_figure_without_a_scene():
    assert len(drawn_figure(np.random.default_rng(0).random((30, 6))).axes) == 2
