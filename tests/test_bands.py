"""Bands: what the user chooses, what is noise, and what a real scene with all its bands becomes."""

from __future__ import annotations

import numpy as np
import pytest

from scoread_jax import bands, io, scene
from scoread_jax.bands import Selection
from scoread_jax.errors import ConfigError, SceneError
from scoread_jax.scene import make_scene
from scoread_jax.synthetic import synthetic

NM = np.linspace(400, 2400, 9)


def cube_of():
    return np.random.default_rng(0).normal(size=(30, 20, 9))


def test_ranges_are_read():
    assert bands.parse_bands("0-49,55, 7 - 9") == ((0, 49), (55, 55), (7, 9))
    assert bands.parse_wavelengths("1340-1450,1790.5-1960,400") == ((1340, 1450), (1790.5, 1960), (400, 400))
    assert bands.parse_bands("") == ()
    for text in ("x", "3-1", "1,,2", "-4", "1-2-3", "1.5"):
        with pytest.raises(ConfigError, match=r"^--bands: expected ranges such as 0-49,55, found "):
            bands.parse_bands(text)
    with pytest.raises(ConfigError, match="--drop-wavelengths: expected ranges such as 1340-1450,1790-1960, found '-'"):
        bands.parse_wavelengths("-")


def test_bands_are_chosen_by_number_and_by_wavelength():
    selection = Selection(keep=((0, 4), (6, 8)), drop_wavelengths=((400, 700), (2000, 9999)))
    image = make_scene(cube_of(), wavelengths=NM, selection=selection)
    np.testing.assert_array_equal(np.flatnonzero(image.good_bands), [2, 3, 4, 6])
    assert image.notes == (
        "1 band left out by --bands (counted from 0): 5",
        "4 bands left out by --drop-wavelengths (counted from 0): 0–1, 7–8",
    )


def test_what_left_out_bands_hold_masks_no_pixel():
    cube = cube_of()
    cube[3:, :, 2], cube[:, :, 7] = np.nan, np.inf
    cube[5, 5] = 0
    cube[5, 5, 2] = 1
    image = make_scene(cube, good_bands=np.arange(9) != 7, selection=Selection(keep=((0, 1), (3, 8))))
    assert image.pixels == 30 * 20 - 1
    assert scene.global_min_max(image) == scene.global_min_max(make_scene(np.delete(cube, (2, 7), axis=2)))


@pytest.mark.parametrize(
    ("selection", "words"),
    [
        (Selection(keep=((0, 9),)), "expected --bands from 0 to 8, found 9"),
        (Selection(keep=((3, 3),)), "expected at least 2 bands, found 1 left of 9 .8 bands left out by --bands"),
        (Selection(drop_wavelengths=((1, 9999),)), "expected at least 2 bands, found 0 left of 9"),
    ],
)
def test_choices_that_do_not_fit_are_refused(selection, words):
    with pytest.raises(SceneError, match=words):
        make_scene(cube_of(), wavelengths=NM, selection=selection)
    with pytest.raises(SceneError, match="expected wavelengths for --drop-wavelengths, found none"):
        make_scene(cube_of(), selection=Selection(drop_wavelengths=((1, 2),)))


def with_noise(noisy):
    """Put noise of their own mean and spread into some bands of a scene."""
    cube = synthetic(bands=60).cube.astype(np.float64)
    rng = np.random.default_rng(0)
    for band in noisy:
        cube[:, :, band] = rng.normal(cube[:, :, band].mean(), cube[:, :, band].std(), cube.shape[:2])
    return cube


@pytest.mark.parametrize("noisy", [(), (0,), (30,), (59,), (0, 1, 20, 58, 59)])
def test_noisy_bands_are_found(noisy):
    image = make_scene(with_noise(noisy), selection=Selection(drop_noisy=True))
    np.testing.assert_array_equal(np.flatnonzero(~image.good_bands), noisy)
    words = f"{len(noisy)} noisy band{'' if len(noisy) == 1 else 's'} left out"
    assert any(note.startswith(words) for note in image.notes)


def test_noise_does_not_depend_on_units_or_masked_pixels():
    cube, wanted = with_noise((5, 40)), Selection(drop_noisy=True)
    image = make_scene(cube, mask=np.arange(64)[:, None].repeat(64, 1) >= 5, selection=wanted)
    other = cube * 1e-4 + 7
    other[:5] = np.random.default_rng(1).normal(size=(5, 64, 60)) * 1e9
    masked = make_scene(other, mask=image.valid, selection=wanted)
    np.testing.assert_array_equal(np.flatnonzero(~image.good_bands), (5, 40))
    np.testing.assert_array_equal(masked.good_bands, image.good_bands)


@pytest.mark.parametrize("name", ["hydice", "gulfport", "cat-island", "sandiego", "pavia_center_105x120"])
def test_cleaned_scenes_lose_hardly_a_band(data_dir, name):
    path = data_dir / f"{name}.mat"
    lost = io.read_scene(path).bands - io.read_scene(path, selection=Selection(drop_noisy=True)).bands
    assert 0 <= lost <= 2


def test_a_scene_with_all_its_bands_comes_out_close_to_the_cleaned_one(data_dir):
    clean = io.read_scene(data_dir / "sandiego.mat")
    every = io.read_scene(data_dir / "sandiego_224bands.mat", selection=Selection(drop_noisy=True))
    a, b = clean.cube.reshape(-1, 189), every.cube.reshape(-1, 224)
    published = [int(np.flatnonzero((b == band[:, None]).all(axis=0))[0]) for band in a.T]
    # None of the published bands is lost, and all that are dead or noise go.
    assert every.good_bands[published].all()
    left_out = np.flatnonzero(~every.good_bands)
    assert set(left_out) <= set(range(224)) - set(published)
    assert {0, 1, 2, 221, 222} <= set(left_out)
    # What is left beside the published ones: band edges and doubled wavelengths that are no noise.
    assert every.bands - len(published) == 8
