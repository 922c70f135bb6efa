"""The ring of neighbours, against numpy's reflection and the golden values."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.io
from hypothesis import given
from hypothesis import strategies as st

from scoread_jax.context import nearest_condition, ring_indices, ring_offsets
from scoread_jax.errors import ConfigError


def brute_force(cube, outer, inner):
    """Reflect-pad, cut the window out, punch the hole: the definition, one pixel at a time."""
    rows, cols, bands = cube.shape
    half, hole = outer // 2, inner // 2
    padded = np.pad(cube, ((half, half), (half, half), (0, 0)), mode="reflect")
    keep = np.ones((outer, outer), bool)
    keep[half - hole : half + hole + 1, half - hole : half + hole + 1] = False
    return np.stack([padded[r : r + outer, c : c + outer][keep] for r in range(rows) for c in range(cols)]).reshape(
        rows * cols, -1, bands
    )


@given(st.integers(2, 9), st.integers(2, 9), st.sampled_from([(3, 1), (5, 1), (5, 3), (7, 3), (7, 5), (9, 7)]))
def test_ring_equals_brute_force(rows, cols, ring):
    outer, inner = ring
    cube = np.arange(rows * cols, dtype=np.int32).reshape(rows, cols, 1)
    valid = np.ones((rows, cols), bool)
    if outer // 2 >= min(rows, cols):
        with pytest.raises(ConfigError, match="does not fit"):
            ring_indices(valid, outer, inner)
        return
    found = ring_indices(valid, outer, inner)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, brute_force(cube, outer, inner)[..., 0])


@given(st.integers(0, 2**32 - 1), st.integers(5, 8), st.integers(5, 8), st.floats(0.02, 0.9))
def test_masked_pixels_never_enter_a_ring(seed, rows, cols, density):
    valid = np.random.default_rng(seed).random((rows, cols)) < density
    valid[0, 0] = valid[-1, -1] = True  # two pixels that are never in each other's hole
    found = ring_indices(valid, 5, 3)
    pixels = np.argwhere(valid)
    assert found.shape == (len(pixels), 16)
    assert found.min() >= 0
    assert found.max() < len(pixels)
    padded = np.pad(np.where(valid, np.cumsum(valid).reshape(valid.shape) - 1, -1)[..., None], ((0, 0),) * 3)
    expected = brute_force(padded, 5, 3)[valid.ravel(), :, 0]
    for ring, wanted, pixel in zip(found, expected, pixels, strict=True):
        inside = wanted[wanted >= 0]
        if len(inside):
            assert set(ring) == set(inside)
            np.testing.assert_array_equal(ring[wanted >= 0], inside)
        else:
            assert len(set(ring)) == 1
            outside = np.abs(pixels - pixel).max(axis=1) > 1
            nearest = ((pixels[outside] - pixel) ** 2).sum(axis=1).min()
            assert ((pixels[ring[0]] - pixel) ** 2).sum() == nearest


@pytest.mark.parametrize(
    ("golden", "scene", "variable", "maximum", "outer", "inner"),
    [
        ("hydice_golden.npz", "hydice.mat", "data", 592, 5, 3),
        ("pavia_golden.npz", "pavia_center_105x120.mat", "PaviaCenter", 6733, 7, 5),
    ],
)
def test_ring_equals_golden(data_dir, reference_dir, golden, scene, variable, maximum, outer, inner):
    cube = scipy.io.loadmat(data_dir / scene)[variable].astype(np.float64) / maximum
    with np.load(reference_dir / golden) as values:
        pixels, context = values["pixel"], values["context"]
    rings = ring_indices(np.ones(cube.shape[:2], bool), outer, inner)[pixels]
    np.testing.assert_allclose(cube.reshape(-1, cube.shape[2])[rings], context, atol=1e-7)


def test_condition_is_the_nearest_to_the_noisy_spectrum():
    ring = jnp.asarray([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [5.0, 5.0]])
    x = jnp.asarray([0.1, 0.9])
    found = nearest_condition(x, ring)
    cosine = 0.9 / np.sqrt(0.82)
    np.testing.assert_allclose(found, [0.0, 1.0, cosine, np.sqrt(0.02)], rtol=1e-6)


def test_condition_of_equal_distances_is_the_first():
    ring = jnp.asarray([[2.0, 0.0], [0.0, 2.0]])
    np.testing.assert_array_equal(nearest_condition(jnp.asarray([1.0, 1.0]), ring)[:2], ring[0])


def test_condition_of_zero_spectra_is_finite():
    assert jnp.isfinite(nearest_condition(jnp.zeros(3), jnp.zeros((2, 3)))).all()


@pytest.mark.parametrize(("outer", "inner"), [(4, 1), (5, 2), (3, 3), (3, 5), (0, 0), (3, -1)])
def test_impossible_rings(outer, inner):
    with pytest.raises(ConfigError, match="odd widths"):
        ring_offsets(outer, inner)


def test_a_scene_within_one_hole_has_no_ring():
    valid = np.zeros((6, 6), bool)
    valid[2:4, 2:4] = True
    with pytest.raises(ConfigError, match="no background"):
        ring_indices(valid, 7, 5)
