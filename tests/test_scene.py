"""Scenes: what is checked, what is masked, and that nothing depends on memory order or block size."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from scoread_jax import cube as cube_module
from scoread_jax import scene
from scoread_jax.cube import LazyCube
from scoread_jax.errors import SceneError
from scoread_jax.io import read_scene
from scoread_jax.metrics import roc_auc
from scoread_jax.scene import Normalisation, make_scene


def ramp(rows=3, cols=4, bands=5, dtype=np.float64):
    """Make a cube without zeros or constant bands."""
    return np.arange(1, rows * cols * bands + 1, dtype=dtype).reshape(rows, cols, bands)


VALUES = st.sampled_from([0.0, 1.0, 1.0, 2.5, -3.0, 4.0, 5.5, 7.0, math.nan, math.inf])
CUBES = hnp.arrays(np.float32, hnp.array_shapes(min_dims=3, max_dims=3, min_side=2, max_side=4), elements=VALUES)


def expected_masks(cube, mask):
    """Judge pixels and bands by the definition, one value at a time; None where no scene can be made."""
    rows, cols, bands = cube.shape
    pixels = list(itertools.product(range(rows), range(cols)))
    inside = [p for p in pixels if mask[p]]
    filled = [b for b in range(bands) if any(math.isfinite(v := cube[(*p, b)]) and v != 0 for p in inside)]
    valid = [
        p
        for p in inside
        if all(math.isfinite(cube[(*p, b)]) for b in filled) and any(cube[(*p, b)] != 0 for b in filled)
    ]
    good = [b for b in filled if len({float(cube[(*p, b)]) for p in valid}) > 1]
    if len(valid) < 2 or len(good) < 2:
        return None
    valid_map = np.array([p in valid for p in pixels]).reshape(rows, cols)
    return valid_map, np.isin(np.arange(bands), good)


@settings(max_examples=300)
@given(CUBES, st.data())
def test_masks_follow_their_definition(cube, data):
    mask = data.draw(hnp.arrays(np.int8, cube.shape[:2], elements=st.sampled_from([0, 1, 1, 1, 2])))
    expected = expected_masks(cube, mask)
    if expected is None:
        with pytest.raises(SceneError):
            make_scene(cube, mask=mask)
        return
    image = make_scene(cube, mask=mask)
    np.testing.assert_array_equal(image.valid, expected[0])
    np.testing.assert_array_equal(image.good_bands, expected[1])
    normalisation = scene.global_min_max(image)
    kept = cube[expected[0]][:, expected[1]]
    assert normalisation == Normalisation(float(kept.min()), float(kept.max()) - float(kept.min()))
    x = scene.spectra(image, normalisation)
    assert x.dtype == np.float32
    assert x.flags.c_contiguous
    assert x.shape == (image.pixels, image.bands)
    assert (x.min(), x.max()) == (0, 1)
    np.testing.assert_allclose(x * normalisation.scale + normalisation.offset, kept, atol=1e-6)


@settings(max_examples=100)
@given(CUBES)
def test_block_size_changes_nothing(cube):
    def everything():
        image = make_scene(cube)
        normalisation = scene.global_min_max(image)
        return (
            image.valid,
            image.good_bands,
            scene.spectra(image, normalisation),
            scene.digest(image),
            image.notes,
        )

    if expected_masks(cube, np.ones(cube.shape[:2])) is None:
        return
    whole = everything()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("scoread_jax.cube._BLOCK_VALUES", 1)
        for a, b in zip(whole, everything(), strict=True):
            np.testing.assert_array_equal(a, b)


def lazy(cube, tile_rows=1, read=None):
    return LazyCube(cube.shape, cube.dtype, read or (lambda start, stop: cube[start:stop].copy()), tile_rows)


@settings(max_examples=100)
@given(CUBES, st.integers(1, 3), st.integers(1, 40))
def test_a_lazy_cube_is_the_same_scene(cube, tile_rows, block):
    if expected_masks(cube, np.ones(cube.shape[:2])) is None:
        return
    image = make_scene(cube)
    scaling = scene.global_min_max(image)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("scoread_jax.cube._BLOCK_VALUES", block)
        other = make_scene(lazy(cube, tile_rows))
        np.testing.assert_array_equal(other.valid, image.valid)
        np.testing.assert_array_equal(other.good_bands, image.good_bands)
        assert (other.notes, scene.digest(other)) == (image.notes, scene.digest(image))
        assert scene.global_min_max(other) == scaling
        np.testing.assert_array_equal(scene.spectra(other, scaling), scene.spectra(image, scaling))
        by_rows = [scene.spectra(other, scaling, rows=slice(row, row + 1)) for row in range(len(cube))]
        np.testing.assert_array_equal(np.concatenate(by_rows), scene.spectra(image, scaling))
        places = np.argwhere(image.valid)[::-1]
        np.testing.assert_array_equal(cube_module.pixels(other.cube, places), cube[image.valid][::-1])
        np.testing.assert_array_equal(cube_module.planes(other.cube, np.array([1, 0])), cube[:, :, [1, 0]])


@given(st.integers(1, 50), st.integers(1, 30), st.integers(1, 12), st.integers(0, 49), st.integers(0, 49))
def test_blocks_cover_the_rows_once_and_end_with_tiles(rows, block, tile_rows, start, stop):
    array = lazy(np.zeros((rows, 1, 1)), tile_rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("scoread_jax.cube._BLOCK_VALUES", block)
        blocks = list(cube_module.row_blocks(array, slice(start, stop)))
    assert [row for each in blocks for row in range(each.start, each.stop)] == list(range(rows))[start:stop]
    if tile_rows <= 8 * block:
        assert all(each.stop % tile_rows == 0 for each in blocks[:-1])


def test_a_lazy_cube_is_read_once_and_only_by_rows():
    cube, read = ramp(40, 4, 9), []
    cube[:3, :, 2] = 0  # band 2 shows itself in the fourth row: what came before is judged again

    def counted(start, stop):
        read.append((start, stop))
        return cube[start:stop]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("scoread_jax.cube._BLOCK_VALUES", 36)
        image = make_scene(lazy(cube, read=counted))
    assert read == [(row, row + 1) for row in (*range(40), 0, 1, 2)]
    scene.global_min_max(image)
    assert len(read) == 43
    for place in (3, (0, 1), slice(0, 4, 2), np.array([1])):
        with pytest.raises(TypeError, match="slice of rows"):
            image.cube[place]
    np.testing.assert_array_equal(np.asarray(image.cube), cube)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.int32])
def test_fill_values_that_no_header_tells_are_found(dtype):
    cube = ramp(6, 5, 10, dtype=dtype)
    clean = scene.global_min_max(make_scene(cube[2:]))
    cube[:2] = -9999
    image = make_scene(cube)
    assert image.notes == (
        "guessed: -9999 is fill, for whole spectra hold nothing else and no other spectrum reaches it",
        "10 of 30 pixels masked: 0 NaN or infinite, 0 all-zero, 0 by the mask, 10 fill",
    )
    np.testing.assert_array_equal(image.valid, np.arange(6)[:, None].repeat(5, 1) >= 2)
    assert scene.global_min_max(image) == clean


@pytest.mark.parametrize("value", [np.finfo(np.float32).max, np.float32(9.96921e36), np.float32(1e20)])
def test_the_great_fill_values_of_writers_are_found(value):
    cube = ramp(6, 5, 10, dtype=np.float32)
    cube[0, 0] = value
    assert not make_scene(cube).valid[0, 0]
    cube = ramp(6, 5, 10, dtype=np.uint16)
    cube[0, 0] = 65535
    image = make_scene(cube)
    assert not image.valid[0, 0]
    cube[1, 1, 3] = 65535  # a pixel that is saturated in one band: the others are saturated, not filled
    image = make_scene(cube)
    assert image.valid.all()
    assert image.high[0] == 65535


def test_flat_spectra_that_may_be_measured_stay():
    cube = ramp(6, 5, 10) - 100
    cube[0, 0], cube[1, 1], cube[2, 2] = 500, -89, 7  # far above, at the least of the rest, within
    image = make_scene(cube)
    assert image.valid.all()
    assert scene.global_min_max(image) == Normalisation(-89.0, 589.0)
    few = ramp(6, 5, 7)
    few[0, 0] = -1  # seven bands may be equal by chance
    assert make_scene(few).valid.all()


@pytest.mark.parametrize("name", ["hydice", "sandiego", "sandiego_224bands", "cat-island", "texas-coast", "gulfport"])
def test_no_pixel_of_a_real_scene_is_taken_as_fill(data_dir, name):
    assert read_scene(data_dir / f"{name}.mat").valid.all()


def test_a_real_scene_with_unmarked_fill_is_the_rest_of_it(data_dir):
    clean = read_scene(data_dir / "hydice.mat")
    cube = clean.cube.astype(np.float32)
    cube[30:40] = -9999
    cube[7, 7, 7] = np.nan
    image = make_scene(cube, truth=clean.truth)
    assert image.pixels == 90 * 80 - 1
    rest = np.ones(clean.valid.shape, bool)
    rest[30:40], rest[7, 7] = False, False
    np.testing.assert_array_equal(image.valid, rest)
    x, y = (scene.spectra(each, scene.global_min_max(clean)) for each in (image, clean))
    np.testing.assert_array_equal(x, y[rest.ravel()])
    assert scene.global_min_max(image) == scene.global_min_max(clean)

    def auc(image, x):
        x = x.astype(np.float64) - x.mean(axis=0, dtype=np.float64)
        return roc_auc((x @ np.linalg.pinv(np.cov(x.T)) * x).sum(axis=1), image.truth[image.valid])

    assert image.truth[rest].sum() == 19
    assert abs(auc(image, x) - auc(clean, y)) < 0.001


def test_pixels_are_row_major_and_come_back_to_their_place():
    cube = ramp()
    cube[1, 2] = np.nan
    image = make_scene(np.asfortranarray(cube))
    x = scene.spectra(image, Normalisation(0.0, 1.0))
    order = [p for p in itertools.product(range(3), range(4)) if p != (1, 2)]
    np.testing.assert_array_equal(x, [cube[p] for p in order])
    restored = scene.to_map(image, x[:, 0])
    assert restored.dtype == np.float32
    np.testing.assert_array_equal(restored, cube[:, :, 0].astype(np.float32))


def test_scaling_does_not_overflow_the_cubes_type():
    cube = ramp(dtype=np.int16)
    cube[0, 0, 0], cube[2, 3, 4] = -32768, 32767
    image = make_scene(cube)
    normalisation = scene.global_min_max(image)
    assert normalisation == Normalisation(-32768.0, 65535.0)
    x = scene.spectra(image, normalisation)
    assert (x[0, 0], x[-1, -1]) == (0, 1)
    np.testing.assert_allclose(x[1, 0], (cube[0, 1, 0] + 32768.0) / 65535)


def test_masked_pixels_and_bad_bands_do_not_set_the_scale():
    cube = ramp()
    cube[0, 0, 0] = 1e9
    cube[:, :, 1] = -1e9
    mask = np.ones((3, 4))
    mask[0, 0] = 0
    image = make_scene(cube, mask=mask)
    assert scene.global_min_max(image) == Normalisation(6.0, 54.0)


def test_notes_say_what_was_left_out():
    cube = ramp(4, 5, 12)
    cube[:, :, [3, 9]] = np.nan
    cube[:, :, [5, 6, 7]] = 4.0
    cube[0, 0, 2] = np.nan
    cube[0, 1, 0] = np.inf
    cube[1, 1] = 0
    mask = np.ones((4, 5), bool)
    mask[3] = False
    image = make_scene(cube, mask=mask)
    assert image.notes == (
        "2 empty bands left out (counted from 0): 3, 9",
        "8 of 20 pixels masked: 2 NaN or infinite, 1 all-zero, 5 by the mask",
        "3 constant bands left out (counted from 0): 5–7",
    )
    assert (image.rows, image.cols, image.bands, image.pixels) == (4, 5, 7, 12)
    assert make_scene(ramp()).notes == ()


def test_truth_is_kept_and_its_oddities_are_said():
    truth = np.zeros((3, 4))
    assert "no anomalous pixel" in make_scene(ramp(), truth=truth).notes[0]
    truth[0, 1] = 7
    image = make_scene(ramp(), truth=truth)
    np.testing.assert_array_equal(image.truth, truth == 7)
    assert image.notes == ()
    truth[2, 2] = -1
    assert "3 different values" in make_scene(ramp(), truth=truth).notes[0]
    assert "no background pixel" in make_scene(ramp(), truth=np.ones((3, 4), bool)).notes[0]
    masked = make_scene(ramp(), truth=truth == 7, mask=truth != 7)
    assert "1 anomalous pixels of the truth are masked" in masked.notes
    np.testing.assert_array_equal(masked.truth, truth == 7)


def test_truth_changes_nothing_that_a_detector_sees():
    truth = np.eye(3, 4)
    plain, labelled = make_scene(ramp()), make_scene(ramp(), truth=truth)
    assert scene.digest(plain) == scene.digest(labelled)
    normalisation = scene.global_min_max(labelled)
    assert normalisation == scene.global_min_max(plain)
    np.testing.assert_array_equal(scene.spectra(plain, normalisation), scene.spectra(labelled, normalisation))


def test_wavelengths_are_nanometres():
    image = make_scene(ramp(), wavelengths=[400, 500, 600, 700, 800])
    np.testing.assert_array_equal(image.wavelengths, [400, 500, 600, 700, 800])
    assert image.notes == ()
    image = make_scene(ramp(), wavelengths=[0.4, 0.5, 0.6, 0.7, 2.5])
    np.testing.assert_allclose(image.wavelengths, [400, 500, 600, 700, 2500])
    assert image.notes == ("wavelengths converted from µm to nm",)


def nan_truth():
    truth = np.zeros((3, 4))
    truth[1, 1] = np.nan
    return truth


@pytest.mark.parametrize(
    ("cube", "options", "words"),
    [
        (np.ones((3, 4)), {}, ["[rows, cols, bands]", "a 2-D array, 3 × 4"]),
        (np.ones((3, 4, 5, 6)), {}, ["a 4-D array"]),
        (np.ones((3, 0, 5)), {}, ["3 × 0 × 5"]),
        (ramp() > 3, {}, ["bool"]),
        (ramp() + 1j, {}, ["complex128"]),
        (ramp().astype(object), {}, ["object"]),
        (np.zeros((3, 4, 5), [("a", "f4")]), {}, ["real numbers"]),
        (np.ma.masked_less(ramp(), 5), {}, ["masked"]),
        (ramp(bands=1), {}, ["at least 2 bands", "1 of 1"]),
        (np.concatenate([ramp(bands=1), np.ones((3, 4, 8))], axis=2), {}, ["1 of 9"]),
        (np.full((3, 4, 5), np.nan), {}, ["NaN", "every band"]),
        (np.full((3, 4, 5), np.nan), {"mask": np.eye(3, 4)}, ["NaN", "under the mask"]),
        (np.zeros((3, 4, 5), np.int16), {}, ["zeros in every band"]),
        (
            ramp() * (np.arange(12).reshape(3, 4, 1) == 5),
            {},
            ["at least 2 valid pixels, found 1", "11 all-zero"],
        ),
        (ramp(1, 1), {}, ["found 1 of 1"]),
        (ramp(), {"mask": np.zeros((3, 4))}, ["found 0 of 12", "12 by the mask"]),
        (ramp(), {"mask": np.ones((4, 3))}, ["mask", "3 × 4", "4 × 3"]),
        (ramp(), {"mask": np.ones((3, 4, 5))}, ["mask", "a 3-D array"]),
        (ramp(), {"mask": np.full((3, 4), np.nan)}, ["mask", "12 NaN"]),
        (ramp(), {"truth": np.ones((4, 3))}, ["truth", "3 × 4", "4 × 3"]),
        (ramp(), {"truth": nan_truth()}, ["truth", "1 NaN"]),
        (ramp(), {"truth": np.full((3, 4), "a")}, ["truth", "numbers"]),
        (ramp(), {"wavelengths": [1, 2, 3]}, ["5 wavelengths", "a 1-D array, 3"]),
        (ramp(), {"wavelengths": [1, 2, 3, 4, np.nan]}, ["wavelengths"]),
        (ramp(), {"wavelengths": [0, 0, 0, 0, 0]}, ["positive"]),
    ],
)
def test_what_is_no_scene_is_refused_in_one_sentence(cube, options, words):
    with pytest.raises(SceneError) as caught:
        make_scene(cube, source="here.mat", **options)
    message = str(caught.value)
    assert message.startswith("here.mat: ")
    assert "\n" not in message
    for word in words:
        assert word in message


def test_a_range_that_float64_cannot_hold_is_refused():
    cube = ramp()
    cube[0, 0, 0], cube[1, 1, 1] = -1.7e308, 1.7e308
    with pytest.raises(SceneError, match="range"):
        scene.global_min_max(make_scene(cube))


def test_bands_of_the_training_are_used():
    cube = ramp()
    trained_on = np.array([True, False, True, True, False])
    x = scene.spectra(make_scene(cube), Normalisation(1.0, 2.0), trained_on)
    np.testing.assert_array_equal(x, (cube.reshape(12, 5)[:, trained_on] - 1) / 2)
    # A band that is constant here was not in the training: the network still gets it.
    cube[:, :, 2] = 8.0
    assert scene.spectra(make_scene(cube), Normalisation(0.0, 1.0), trained_on)[0, 1] == 8
    with pytest.raises(SceneError, match=r"expected 4 bands .* found 5"):
        scene.spectra(make_scene(cube), Normalisation(0.0, 1.0), np.ones(4, bool))
    cube[:, :, 3] = np.nan
    with pytest.raises(SceneError, match="NaN or infinity in 3"):
        scene.spectra(make_scene(cube), Normalisation(0.0, 1.0), trained_on)


def test_map_needs_one_value_a_pixel():
    image = make_scene(ramp())
    with pytest.raises(SceneError, match="12 valid pixels, found a 1-D array, 11"):
        scene.to_map(image, np.ones(11))
    with pytest.raises(SceneError, match="3 × 4"):
        scene.to_map(image, np.ones((3, 4)))


def test_digest_is_of_values_not_of_memory():
    cube = ramp(dtype=np.int16)
    first = scene.digest(make_scene(cube))
    assert len(first) == 64
    assert scene.digest(make_scene(np.asfortranarray(cube))) == first
    assert scene.digest(make_scene(cube.astype(">i2"))) == first
    assert scene.digest(make_scene(cube, name="other", source="elsewhere", truth=np.eye(3, 4))) == first
    changed = cube.copy()
    changed[0, 0, 0] += 1
    mask = np.ones((3, 4))
    mask[2, 2] = 0
    others = [
        make_scene(changed),
        make_scene(cube.astype(np.int32)),
        make_scene(cube.reshape(4, 3, 5)),
        make_scene(cube, mask=mask),
    ]
    assert len({first, *map(scene.digest, others)}) == 5


def test_modules_start_without_heavy_libraries():
    program = (
        "import sys, scoread_jax; before = set(sys.modules);"
        "import scoread_jax.scene, scoread_jax.io, scoread_jax.datasets;"
        "new = set(sys.modules) - before;"
        "print(sorted(new & {'jax', 'flax', 'h5py', 'pooch', 'scipy', 'matplotlib'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
