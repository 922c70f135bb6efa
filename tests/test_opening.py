"""Area opening against its definition, and what it must not do."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from scoread_jax.opening import area_opening

IMAGES = hnp.arrays(np.float64, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(-3, 9).map(float))


def by_definition(image, largest, floor):
    """Level after level."""
    opened = np.full(image.shape, float(floor))
    for level in np.unique(image[image > floor]):
        labels, _ = ndimage.label(image >= level, np.ones((3, 3)))
        large = np.bincount(labels.ravel()) > largest
        large[0] = False
        opened[large[labels]] = level
    return opened


@given(IMAGES, st.integers(0, 30), st.integers(-4, 5))
def test_it_is_what_its_definition_says(image, largest, floor):
    np.testing.assert_array_equal(area_opening(image, largest, floor), by_definition(image, largest, floor))


@given(IMAGES, st.integers(0, 30), st.integers(0, 2**32 - 1))
def test_small_changes_of_the_image_stay_small(image, largest, seed):
    change = np.random.default_rng(seed).uniform(-0.4, 0.4, image.shape)
    before, after = area_opening(image, largest, -9.0), area_opening(image + change, largest, -9.0)
    assert np.abs(before - after).max() <= np.abs(change).max() + 1e-12


@given(IMAGES, st.integers(0, 30))
def test_opened_twice_is_opened_once_and_what_does_not_count_is_not_there(image, largest):
    opened = area_opening(image, largest, -9.0)
    assert (opened <= np.maximum(image, -9.0)).all()
    np.testing.assert_array_equal(area_opening(opened, largest, -9.0), opened)
    np.testing.assert_array_equal(area_opening(image[:, ::-1].T, largest, -9.0), opened[:, ::-1].T)
    apart = image.copy()
    apart[len(image) // 2] = -np.inf
    found = area_opening(apart, largest, -9.0)
    np.testing.assert_array_equal(found[: len(image) // 2], area_opening(image[: len(image) // 2], largest, -9.0))
