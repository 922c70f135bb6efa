"""Making maps comparable, and what happens to them in the image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from scoread_jax import fusion

VALUES = hnp.arrays(np.float64, st.integers(3, 40), elements=st.floats(0.01, 100), unique=True)


@given(VALUES, st.floats(0.1, 10), st.floats(-5, 5))
def test_robust_z_does_not_care_for_units(values, factor, offset):
    np.testing.assert_allclose(fusion.robust_z(factor * values + offset), fusion.robust_z(values), rtol=1e-5, atol=1e-5)


def test_robust_z_of_a_normal_law_is_standard():
    values = 3 + 2 * np.random.default_rng(0).normal(size=100_000)
    z = fusion.robust_z(values)
    assert np.median(z) == pytest.approx(0, abs=1e-12)
    assert z.std() == pytest.approx(1, rel=0.02)


def test_robust_z_knows_no_evidence():
    z = fusion.robust_z(np.array([1.0, np.nan, 2.0, 3.0, 10.0]))
    assert z[1] == 0
    assert np.isfinite(z).all()
    np.testing.assert_array_equal(fusion.robust_z(np.full(4, np.nan)), 0)
    np.testing.assert_array_equal(fusion.robust_z(np.ones(5)), 0)
    assert np.isfinite(fusion.robust_z_of_log(np.array([0.0, 1.0, 2.0, 5.0]))).all()


@given(hnp.arrays(np.float64, 40, elements=st.floats(-50, 50)), st.floats(0.55, 0.99), st.floats(0.1, 3))
def test_bent_scores_keep_their_order_and_their_bounds(values, linear_to, veto):
    values = values.round(3)  # a spread of 1e-188 makes z-scores of 1e187, whose rounding no bound allows for
    straight, bent = fusion.robust_z(values), fusion.robust_z(values, linear_to, veto)
    order = np.argsort(straight, kind="stable")
    assert (np.diff(bent[order]) >= 0).all()
    assert (np.abs(bent) <= np.abs(straight) + 1e-9).all()
    assert (bent >= -veto).all()
    law = fusion.null(values, linear_to, veto)
    if np.isfinite(law.bend):
        assert law.bend == pytest.approx(np.quantile(straight, linear_to))


@given(st.floats(-5, 5), st.floats(0.1, 5), st.floats(0.1, 50), st.floats(0.1, 5))
def test_what_is_high_counts_by_its_logarithm_and_what_is_low_up_to_the_veto(median, spread, bend, veto):
    law = fusion.Null(median, spread, bend=bend, veto=veto)
    high = law.z(median + spread * bend * np.array([0.01, 1e3, 1e6])) / bend
    np.testing.assert_allclose(high, [0.01, np.log(2e3), np.log(2e6)], rtol=1e-3)
    low = law.z(median - spread * veto * np.array([0.01, 1e3])) / veto
    np.testing.assert_allclose(low, [-0.01, -1], rtol=1e-3)


def test_where_little_stands_out_nothing_bends():
    values = np.arange(9.0)
    np.testing.assert_array_equal(fusion.robust_z(values, 0.5), fusion.robust_z(values))
    np.testing.assert_array_equal(fusion.robust_z(np.ones(5), 0.9), 0)


@given(hnp.arrays(np.float64, (4, 6), elements=st.floats(-50, 50)))
def test_soft_maximum_lies_between_mean_and_maximum(maps):
    found = fusion.soft_maximum(maps, 2.0)
    assert (found <= maps.max(axis=0) + 1e-9).all()
    assert (found >= maps.mean(axis=0) - 1e-9).all()
    # Hoeffding's lemma: above the mean by at most range² / 8 temperature.
    assert (fusion.soft_maximum(maps, 1e4) - maps.mean(axis=0) <= np.ptp(maps, axis=0) ** 2 / 8e4 + 1e-9).all()
    np.testing.assert_allclose(fusion.soft_maximum(maps, 2e4), maps.mean(axis=0), rtol=0, atol=0.1)
    np.testing.assert_allclose(fusion.soft_maximum(maps, 1e-3), maps.max(axis=0), atol=0.01)


def test_surroundings_lower_restless_ground_and_keep_a_lone_peak():
    image = np.zeros((31, 31))
    image[:, 16:] = 1.0
    image[15, 5] = 8.0
    valid = np.ones(image.shape, bool)
    found = fusion.subtract_surroundings(image, valid, 0.5, 5, 1.0)
    assert found[15, 28] == pytest.approx(0.5)
    assert found[15, 5] == pytest.approx(8 - 0.5 / 25)
    np.testing.assert_array_equal(fusion.subtract_surroundings(image, valid, 0.0, 5, 1.0), image)


@given(st.integers(0, 2**32 - 1))
def test_masked_pixels_have_no_say(seed):
    rng = np.random.default_rng(seed)
    image, valid = rng.normal(size=(9, 8)), rng.random((9, 8)) < 0.7
    other = np.where(valid, image, 1e6 * rng.normal(size=image.shape))
    for change in (
        lambda m: fusion.subtract_surroundings(m, valid, 0.7, 5, 0.75),
        lambda m: fusion.lower_large_groups(m, valid, 6, 0.75),
        lambda m: fusion.lend_to_neighbours(m, valid, 0.5),
    ):
        np.testing.assert_allclose(change(image)[valid], change(other)[valid], rtol=1e-6, atol=1e-9)


def test_large_groups_are_lowered_and_what_rises_from_them_is_not():
    image = np.zeros((12, 12))
    image[1:5, 1:5] = 3.0
    image[2, 2] = 9.0
    image[8:10, 8:10] = 3.0
    image[10, 10] = 2.0
    valid = np.ones(image.shape, bool)
    found = fusion.lower_large_groups(image, valid, 15, 0.5)
    np.testing.assert_array_equal(found[1:5, 1:5], np.where(image[1:5, 1:5] > 3, 6.5, 0.5))
    np.testing.assert_array_equal(found[6:], image[6:])
    np.testing.assert_array_equal(fusion.lower_large_groups(image, valid, 16, 0.5), image)


def test_a_large_group_keeps_a_share_of_what_it_stands_higher_than_ground():
    image = np.zeros((12, 12))
    image[1:5, 1:5] = 3.0
    image[2, 2] = 9.0
    image[7:11, 7:11] = 1.0
    found = fusion.lower_large_groups(image, np.ones(image.shape, bool), 15, 0.5, ground=1.0, keep=0.4)
    # 2.5 above the background, 1.5 above ground.
    np.testing.assert_allclose(found[1:5, 1:5], np.where(image[1:5, 1:5] > 3, 6.5, 0.5) + 0.4 * 1.5)
    np.testing.assert_allclose(found[7:11, 7:11], 0.5)


@given(st.integers(0, 2**32 - 1), st.floats(0, 2), st.floats(0, 1))
def test_what_large_groups_keep_lies_between_nothing_and_all(seed, ground, keep):
    image = ndimage.gaussian_filter(3 * np.random.default_rng(seed).normal(size=(12, 11)), 1) + 1
    valid = np.ones(image.shape, bool)
    found = fusion.lower_large_groups(image, valid, 6, 0.75, ground, keep)
    assert (found <= image + 1e-12).all()
    assert (found >= fusion.lower_large_groups(image, valid, 6, 0.75) - 1e-12).all()
    np.testing.assert_allclose(fusion.lower_large_groups(image, valid, 6, 0.75, 0.0, 1.0), image)


def test_neighbours_of_a_peak_rise_and_the_peak_leads():
    image = np.zeros((7, 7))
    image[3, 3] = 4.0
    found = fusion.lend_to_neighbours(image, np.ones(image.shape, bool), 0.5)
    assert found[3, 3] == 6
    assert found[2, 2] == found[4, 3] == 2
    assert found[1, 3] == 0


def test_fusion_of_one_time_changes_nothing():
    values = np.asarray([[3.0, -1.0, 2.0]])
    for how in fusion.TIME_FUSIONS:
        np.testing.assert_array_equal(fusion.fuse_times(values, how), values[0])


@pytest.mark.parametrize("how", fusion.TIME_FUSIONS)
def test_fusion_does_not_depend_on_the_scale_of_a_time(how):
    values = np.exp(np.random.default_rng(0).normal(size=(3, 200)))
    scaled = values * np.asarray([[1.0], [100.0], [1e-3]])
    np.testing.assert_allclose(fusion.fuse_times(scaled, how), fusion.fuse_times(values, how), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("how", ["mean_z", "max_z", "fisher"])
def test_equal_scores_are_fused_to_finite_ones(how):
    assert np.isfinite(fusion.fuse_times(np.zeros((2, 50)), how)).all()


@pytest.mark.parametrize("how", fusion.TIME_FUSIONS)
def test_fusion_finds_what_stands_out_at_any_time(how):
    """Of signed scores too: a pixel that stands out at one time of three is above 99 % of the others."""
    values = np.random.default_rng(1).normal(size=(3, 1000))
    values[1, 17] = 8.0
    fused = fusion.fuse_times(values, how)
    assert np.mean(fused > fused[17]) < (0.1 if how == "fisher" else 0.01)


def test_fisher_is_the_sum_over_p_values():
    fused = fusion.fisher(np.asarray([[4.0, 3.0, 2.0, 1.0], [1.0, 2.0, 3.0, 4.0]]))
    np.testing.assert_allclose(fused, -np.log([1 / 4, 3 / 8, 3 / 8, 1 / 4]))


def test_mixture_sees_what_no_single_time_shows():
    """A vector off the mixture's correlation, within the range of each of its components."""
    pytest.importorskip("sklearn")
    rng = np.random.default_rng(2)
    common = rng.normal(size=2000)
    values = np.stack([common, common + 0.1 * rng.normal(size=2000)])
    values[:, 5] = (1.5, -1.5)
    values[:, 6] = (1.6, -1.4)  # two alike: no component of their own shall explain them
    assert set(np.argsort(fusion.mixture(values))[-2:]) == {5, 6}
    assert np.argmax(fusion.mean_z(values)) != 5
