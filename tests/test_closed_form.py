"""The members that need no training, against their definitions one pixel at a time."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scoread_jax import blocks, closed_form, members, native, suspects, views
from scoread_jax.config import ClosedFormConfig, FusionConfig, TrainConfig
from scoread_jax.members import fuse, learn, reach
from scoread_jax.suspects import training_pixels

NEAREST, GAUSSIAN = ((1, 3), (3, 5)), ((1, 5), (3, 5))
NEIGHBOURS, COMPONENTS, RIDGE = (1, 3), 2, 0.1


@pytest.fixture(params=["compiled", "xla"])
def either(request, monkeypatch):
    """Whatever computes: code for the processor at hand, or XLA."""
    if request.param == "xla":
        monkeypatch.setattr(closed_form, "_first_of", lambda compiled, other, sizes: other(*sizes))
    elif reason := native.why_not():
        pytest.skip(f"no native code: {reason}")


def spectra(seed, pixels, bands):
    return np.random.default_rng(seed).normal(size=(pixels, bands)).astype(np.float32)


def ring_of(valid, row, col, inner, outer):
    """Places of the valid pixels of a ring, and how many of its pixels there are in all."""
    places = np.full(valid.shape, -1)
    places[valid] = np.arange(valid.sum())
    half, hole = outer // 2, inner // 2
    found = [
        places[r, c]
        for r in range(max(0, row - half), min(valid.shape[0], row + half + 1))
        for c in range(max(0, col - half), min(valid.shape[1], col + half + 1))
        if max(abs(r - row), abs(c - col)) > hole and valid[r, c]
    ]
    return np.array(found, int), outer**2 - inner**2


def mean_distance(distances, k, share):
    """Mean of the k · share smallest, the last one counted in part; at least one."""
    wanted, distances = max(k * share, 1.0), np.sort(distances)
    weights = np.clip(wanted - np.arange(len(distances)), 0, 1)
    return (weights * distances).sum() / weights.sum()


@pytest.mark.usefixtures("either")
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32 - 1), st.sampled_from([1.0, 0.7, 0.3]), st.sampled_from([1.0, 0.6]))
def test_ring_scores_equal_their_definitions(seed, density, share):
    valid = np.random.default_rng(seed).random((6, 7)) < density
    valid[0, 0] = valid[5, 6] = valid[2, 3] = True
    x = spectra(seed, valid.sum(), 3)
    ridge = RIDGE * x[:, :COMPONENTS].astype(np.float64).var(axis=0).sum()
    takes_part = np.random.default_rng(seed + 1).random(len(x)) < share
    nearest = closed_form.nearest_scores(x, valid, NEAREST, NEIGHBOURS)
    gaussian = closed_form.gaussian_scores(x[:, :COMPONENTS], valid, GAUSSIAN, ridge, takes_part)
    for place, (row, col) in enumerate(np.argwhere(valid)):
        for number, (inner, outer) in enumerate(NEAREST):
            ring, whole = ring_of(valid, row, col, inner, outer)
            distances = np.linalg.norm(x[ring] - x[place], axis=1)
            for which, k in enumerate(NEIGHBOURS):
                value = nearest[number, which, place]
                if len(ring) == 0:
                    assert np.isnan(value)
                else:
                    assert value == pytest.approx(mean_distance(distances, k, len(ring) / whole), rel=1e-4)
        for number, (inner, outer) in enumerate(GAUSSIAN):
            ring, _ = ring_of(valid, row, col, inner, outer)
            ring = ring[takes_part[ring]]
            value = gaussian[number, place]
            if len(ring) == 0:
                assert np.isnan(value)
                continue
            inside = x[ring][:, :COMPONENTS].astype(np.float64)
            difference = inside.mean(axis=0) - x[place, :COMPONENTS]
            covariance = np.cov(inside.T, bias=True) + ridge * np.eye(COMPONENTS)
            assert value == pytest.approx(np.sqrt(difference @ np.linalg.solve(covariance, difference)), rel=1e-3)


def test_gaussian_length_is_the_score_in_its_own_metric():
    """The score of N(μ, C + λI) at x is −(C + λI)⁻¹(x − μ); its length in that metric is the statistic."""
    valid, x = np.ones((5, 5), bool), spectra(3, 25, 2)
    ridge = RIDGE * x.var(axis=0).sum()
    found = closed_form.gaussian_scores(x, valid, ((1, 5),), ridge)
    ring, _ = ring_of(valid, 2, 2, 1, 5)
    covariance = np.cov(x[ring].T, bias=True) + ridge * np.eye(2)

    def log_density(point):
        difference = point - x[ring].mean(axis=0)
        return -0.5 * difference @ np.linalg.inv(covariance) @ difference

    score = np.asarray(jax.grad(lambda p: log_density(p))(jax.numpy.asarray(x[12])))
    assert found[0, 12] == pytest.approx(np.sqrt(score @ covariance @ score), rel=1e-4)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 20, 41])
def test_elimination_is_the_inverse(size):
    values = np.random.default_rng(size).normal(size=(7, size + 3, size))
    metric = values.transpose(0, 2, 1) @ values + 0.5 * np.eye(size)
    x = np.random.default_rng(1).normal(size=(7, size))
    found = closed_form._inverse_form(*(jax.numpy.moveaxis(jax.numpy.asarray(a), 0, -1) for a in (metric, x)), 0.5)
    np.testing.assert_allclose(found, np.einsum("pi,pij,pj->p", x, np.linalg.inv(metric), x), rtol=1e-4)


MANY = """
import json
import numpy as np
from scoread_jax import closed_form
x = np.random.default_rng(0).normal(size=(900, 40)).astype(np.float32)
found = closed_form.gaussian_scores(x, np.ones((30, 30), bool), ((3, 9), (5, 11), (7, 15)), 1.0)
print(json.dumps(found[:, 450:460].tolist()))
"""


def test_many_components_on_several_devices_end(on_eight_devices):
    """Batches of larger matrices once waited for each other for ever."""
    x, valid = np.random.default_rng(0).normal(size=(900, 40)).astype(np.float32), np.ones((30, 30), bool)
    for found, (inner, outer) in zip(on_eight_devices(MANY), ((3, 9), (5, 11), (7, 15)), strict=True):
        for place, value in enumerate(found, 450):
            ring, _ = ring_of(valid, place // 30, place % 30, inner, outer)
            difference = x[ring].mean(axis=0) - x[place]
            covariance = np.cov(x[ring].T, bias=True) + np.eye(40)
            assert value == pytest.approx(np.sqrt(difference @ np.linalg.solve(covariance, difference)), rel=1e-4)


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize(("offset", "error"), [(10.0, 0.005), (100.0, 0.5), (1e4, np.inf)])
def test_spectra_far_from_the_mean_of_the_scene(offset, error):
    """A bright object that fills its rings: moments lose digits, and what is left is no longer than it can be."""
    x, valid = 0.05 * spectra(9, 900, 6), np.ones((30, 30), bool)
    near = closed_form.gaussian_scores(x, valid, ((3, 9),), 0.02)[0]
    far = closed_form.gaussian_scores(x + np.float32(offset), valid, ((3, 9),), 0.02)[0]
    np.testing.assert_array_less(np.abs(far / near - 1), error)
    rings = [ring_of(valid, place // 30, place % 30, 3, 9)[0] for place in range(900)]
    most = [np.linalg.norm(x[ring].mean(axis=0) - x[place]) / 0.02**0.5 for place, ring in enumerate(rings)]
    np.testing.assert_array_less(far, np.array(most) + 5e-6 * offset + 1e-3)


def scene_scores(x, neighbours, references):
    places = closed_form.reference_places(jax.random.key(0), len(x), references)
    nearest = closed_form.nearest_of(neighbours, len(places), len(x))
    known = closed_form.References(x[places], places, nearest)
    return closed_form.scene_scores(known, x, np.arange(len(x), dtype=np.int32))


@pytest.mark.usefixtures("either")
def test_scene_scores_equal_brute_force():
    x = spectra(5, 60, 4)
    found = scene_scores(x, neighbours=4, references=100)
    distances = np.sort(np.linalg.norm(x[:, None] - x[None], axis=2), axis=1)[:, 1:5]
    np.testing.assert_allclose(found, distances.mean(axis=1), rtol=1e-3)


def test_scene_scores_of_a_sample_keep_the_order_of_magnitude():
    x = spectra(6, 600, 4)
    whole = scene_scores(x, neighbours=40, references=600)
    part = scene_scores(x, neighbours=40, references=200)
    assert np.corrcoef(whole, part)[0, 1] > 0.95
    assert np.median(part / whole) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("kind", ["standardised", "root"])
def test_views_are_orthogonal_and_of_unit_variance(kind):
    values = np.abs(spectra(7, 400, 6)) * np.array([1, 5, 0.1, 2, 1, 3])
    view = views.learn(values, kind, 6)
    found = view.apply(values)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-4)
    covariance = found.T @ found / len(found)
    np.testing.assert_allclose(covariance - np.diag(np.diag(covariance)), 0, atol=1e-4)
    assert np.trace(covariance) == pytest.approx(6, rel=1e-4)
    assert (np.diff(np.diag(covariance)) <= 1e-5).all()
    np.testing.assert_allclose(views.learn(values, kind, 2).apply(values), found[:, :2], atol=1e-5)


def test_standardised_view_does_not_care_for_units():
    values = np.abs(spectra(8, 300, 5))
    scaled = values * 40 + 7
    first, second = (views.learn(v, "standardised", 3).apply(v) for v in (values, scaled))
    np.testing.assert_allclose(first, second, atol=1e-3)


def test_views_of_constant_spectra_are_finite():
    values = np.full((10, 4), 0.5, np.float32)
    for kind in ("standardised", "root"):
        assert np.isfinite(views.learn(values, kind, 3).apply(values)).all()


@pytest.fixture(scope="module")
def planted():
    """A smooth scene with two odd pixels, and a mask."""
    rng = np.random.default_rng(9)
    rows, cols = 24, 26
    ramp = np.linspace(0.2, 0.6, cols)[None, :, None] * np.linspace(1, 2, 8)[None, None, :]
    cube = np.broadcast_to(ramp, (rows, cols, 8)) + 0.01 * rng.normal(size=(rows, cols, 8))
    cube[5, 7] += 0.3 * np.cos(np.arange(8))
    cube[17, 20] += 0.3 * np.sin(2 * np.arange(8))
    valid = np.ones((rows, cols), bool)
    valid[10:13, 3:9] = False
    return np.clip(cube / cube.max(), 0, 1).astype(np.float32), valid


@pytest.fixture(scope="module")
def found(planted):
    cube, valid = planted
    return maps_of(cube, valid, ClosedFormConfig())


def maps_of(cube, valid, settings_):
    """All three members of a scene that is one block."""
    x = cube[valid]
    learned = learn(jax.random.key(0), valid, x, x.__getitem__, settings_)
    (whole,) = blocks.cut(valid, len(valid), reach(settings_))
    maps = members.compare_nearest(members.nearest(learned, valid, whole, x, settings_), settings_)
    takes_part = ~suspects.in_no_ring(valid, maps, settings_, FusionConfig(tuple(maps), (1.0,) * len(maps)))
    return maps | members.compare_gaussian(members.gaussian(learned, valid, takes_part, whole, x, settings_))


@pytest.mark.parametrize("name", ["ring_nearest", "ring_gaussian", "scene_nearest"])
def test_every_member_finds_planted_pixels(planted, found, name):
    _, valid = planted
    image = np.full(valid.shape, -np.inf)
    image[valid] = found[name]
    order = np.argsort(-image.ravel())[:2]
    assert set(order) == {5 * 26 + 7, 17 * 26 + 20}


def test_fused_map_finds_planted_pixels_and_masked_values_do_not_matter(planted, found):
    _cube, valid = planted
    settings_ = FusionConfig(
        ("ring_nearest", "ring_gaussian", "scene_nearest"), (1.0, 1.0, 0.5), surroundings=0.7, lend=0.5
    )
    values = fuse(valid, found, settings_)
    image = np.full(valid.shape, -np.inf)
    image[valid] = values
    assert set(np.argsort(-image.ravel())[:2]) == {5 * 26 + 7, 17 * 26 + 20}
    assert values.shape == (valid.sum(),)


def test_the_unit_of_a_single_member_does_not_matter_in_the_image(planted, found):
    _cube, valid = planted
    settings_ = FusionConfig(("ring_nearest",), (1.0,), largest_object=30, surroundings=0.5, lend=0.5)
    one = fuse(valid, found, settings_)
    np.testing.assert_allclose(fuse(valid, {"ring_nearest": 40 + 8 * found["ring_nearest"]}, settings_), one, atol=1e-5)
    alone = FusionConfig(("ring_nearest",), (1.0,))
    np.testing.assert_array_equal(fuse(valid, found, alone), found["ring_nearest"])


def test_an_object_wider_than_the_holes_does_not_explain_itself(planted):
    cube, valid = planted
    rows, cols = np.mgrid[11:18, 13:20]
    wide = cube.copy()
    wide[rows, cols] = np.clip(wide[rows, cols] + 0.2 * np.cos(np.arange(8)), 0, 1)
    rings = {"gaussian_inner": (3, 5), "gaussian_outer": (9, 11)}
    alone, with_suspects = (
        maps_of(wide, valid, ClosedFormConfig(**rings, suspects=share))["ring_gaussian"] for share in (0.0, 0.1)
    )
    middle = np.count_nonzero(valid[:14]) + np.count_nonzero(valid[14, :16])
    assert (alone > alone[middle]).mean() > 0.02
    assert (with_suspects > with_suspects[middle]).sum() < 49


def test_suspects_are_small_objects():
    valid = np.ones((12, 14), bool)
    valid[:, 13] = False
    image = np.random.default_rng(0).random(valid.shape)
    image[1:7, 1:7] += 5
    image[9, 9] = image[10, 10] = 4
    maps = {"ring_nearest": image[valid], "scene_nearest": image[valid]}

    def found(share, largest):
        plain = FusionConfig(("ring_nearest", "scene_nearest"), (1.0, 1.0), largest_object=largest)
        known = np.zeros(valid.shape, bool)
        known[valid] = suspects.in_no_ring(valid, maps, ClosedFormConfig(suspects=share), plain)
        return known

    two = {(9, 9), (10, 10)}
    assert found(38 / valid.sum(), 0).sum() == 38
    assert not two & set(map(tuple, np.argwhere(found(20 / valid.sum(), 36))))
    assert set(map(tuple, np.argwhere(found(2 / valid.sum(), 35)))) == two
    assert not found(0.0, 100).any()


def test_training_leaves_out_the_most_anomalous(found):
    pixels = len(found["ring_nearest"])
    chosen = training_pixels(jax.random.key(0), found, pixels, TrainConfig(drop=0.05))
    assert len(chosen) == round(0.95 * pixels)
    left_out = np.setdiff1d(np.arange(pixels), chosen)
    for one in found.values():
        assert one[left_out].mean() > one[chosen].mean()
    assert found["ring_nearest"].argmax() in left_out
    sample = training_pixels(jax.random.key(0), found, pixels, TrainConfig(drop=0.05, max_pixels=100))
    assert len(set(sample)) == 100
    assert set(sample) <= set(chosen)
    np.testing.assert_array_equal(training_pixels(jax.random.key(0), {}, 7, TrainConfig()), np.arange(7))


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 400), st.integers(1, 40), st.integers(0, 2**32 - 1), st.booleans())
def test_the_smallest_are_those_of_sorting(length, count, seed, ties):
    count = min(count, length)
    values = np.random.default_rng(seed).normal(size=length).astype(np.float32)
    values = np.round(values) if ties else values
    values[: length // 5] = np.inf
    np.testing.assert_array_equal(closed_form._smallest(jax.numpy.asarray(values), count), np.sort(values)[:count])
