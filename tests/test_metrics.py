"""The figures of an anomaly map: against scikit-learn, brute force, identities and the published maps."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.io import loadmat
from sklearn import metrics as sk

from scoread_jax import metrics
from scoread_jax.errors import ConfigError, SceneError

RATES = (1e-3, 0.01, 0.05, 0.2, 0.5, 1.0)


@st.composite
def scored_truths(draw, levels=(1, 2, 3, 10, 10_000)):
    """Scores (few levels: many ties) and labels with both classes."""
    size = draw(st.integers(2, 60))
    level = draw(st.sampled_from(levels))
    scores = draw(st.lists(st.integers(0, level), min_size=size, max_size=size))
    labels = draw(st.lists(st.booleans(), min_size=size, max_size=size))
    assume(0 < sum(labels) < size)
    return np.array(scores, dtype=float) * 0.37 - 1.3, np.array(labels)


def random_case(seed=0, shape=(30, 40), prevalence=0.05):
    rng = np.random.default_rng(seed)
    truth = rng.random(shape) < prevalence
    return rng.normal(size=shape) + 1.5 * truth, truth


# Against scikit-learn


@settings(max_examples=80)
@given(scored_truths())
def test_ranking_figures_equal_scikit_learn(case):
    scores, labels = case
    assert metrics.roc_auc(scores, labels) == pytest.approx(sk.roc_auc_score(labels, scores), abs=1e-12)
    expected = sk.average_precision_score(labels, scores)
    assert metrics.average_precision(scores, labels) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=60)
@given(scored_truths())
def test_curves_equal_scikit_learn(case):
    scores, labels = case
    roc = metrics.roc_curve(scores, labels)
    false_alarm_rate, detection_rate, threshold = sk.roc_curve(labels, scores, drop_intermediate=False)
    np.testing.assert_allclose(roc.false_alarm_rate, false_alarm_rate, atol=1e-15)
    np.testing.assert_allclose(roc.detection_rate, detection_rate, atol=1e-15)
    np.testing.assert_array_equal(roc.threshold, threshold)
    pr = metrics.pr_curve(scores, labels)
    precision, recall, threshold = sk.precision_recall_curve(labels, scores)
    np.testing.assert_allclose(pr.recall, recall[::-1], atol=1e-15)
    np.testing.assert_allclose(pr.precision, precision[::-1], atol=1e-15)
    np.testing.assert_array_equal(pr.threshold[1:], threshold[::-1])


@settings(max_examples=80)
@given(scored_truths(), st.sampled_from(RATES))
def test_partial_auc_is_the_interpolated_area_and_mcclish_of_it_is_scikit_learns(case, m):
    scores, labels = case
    ours = metrics.partial_auc(scores, labels, m)
    x, y, _ = sk.roc_curve(labels, scores, drop_intermediate=False)
    area = 0.0  # segment by segment, clipped at m
    for x0, y0, x1, y1 in zip(x, y, x[1:], y[1:], strict=False):
        if x0 < m and x1 > x0:
            end = min(x1, m)
            area += (end - x0) * (y0 + y0 + (y1 - y0) * (end - x0) / (x1 - x0)) / 2
    assert ours == pytest.approx(area / m, abs=1e-12)
    assert 0 <= ours <= 1 + 1e-12
    mcclish = (1 + (ours - m / 2) / (1 - m / 2)) / 2 if m < 1 else ours
    assert mcclish == pytest.approx(sk.roc_auc_score(labels, scores, max_fpr=m), abs=1e-10)


# Against brute force


@settings(max_examples=60)
@given(scored_truths(), st.sampled_from((0.0, *RATES)))
def test_detection_rate_at_is_the_best_threshold_allowed(case, rate):
    scores, labels = case
    best = 0.0
    for threshold in np.unique(scores):
        detected = scores >= threshold
        if detected[~labels].mean() <= rate:
            best = max(best, detected[labels].mean())
    assert metrics.detection_rate_at(scores, labels, rate) == pytest.approx(best, abs=1e-15)


def test_a_rate_that_equals_a_whole_number_of_false_alarms_is_allowed_to_reach_it():
    # 1000 background pixels, one above the only anomaly: a false-alarm rate of exactly 1e-3.
    scores = np.concatenate([[2.0], [1.0], np.zeros(999)])
    truth = np.zeros(1001, dtype=bool)
    truth[1] = True
    assert metrics.detection_rate_at(scores, truth, 1e-3) == 1.0
    assert metrics.detection_rate_at(scores, truth, 0.99e-3) == 0.0


@settings(max_examples=60)
@given(scored_truths())
def test_areas_over_threshold_equal_the_integral_over_tau(case):
    scores, labels = case
    assume(np.ptp(scores) > 0)
    normalised = (scores - scores.min()) / np.ptp(scores)
    taus = (np.arange(20_000) + 0.5) / 20_000  # the midpoint rule
    rates = [(normalised[members, None] >= taus).mean() for members in (labels, ~labels)]
    roc = metrics.roc_3d(scores, labels)
    assert roc.auc_d_tau == pytest.approx(rates[0], abs=1e-4)
    assert roc.auc_f_tau == pytest.approx(rates[1], abs=1e-4)
    assert roc.auc_d_f == metrics.roc_auc(scores, labels)


# Invariances and identities


@pytest.mark.parametrize("transform", [np.exp, np.arctan, lambda s: 7 * s - 3, lambda s: s**3])
def test_ranking_figures_ignore_monotone_transforms_and_the_3d_roc_does_not(transform):
    anomaly_map, truth = random_case()
    before, after = metrics.evaluate(anomaly_map, truth), metrics.evaluate(transform(anomaly_map), truth)
    for name in (
        "auc",
        "average_precision",
        "partial_auc_1pct",
        "detection_rate_at_1e3",
        "detection_rate_at_1e2",
    ):
        assert getattr(after, name) == getattr(before, name)
    affine = transform(2.0) - transform(1.0) == transform(1.0) - transform(0.0)
    assert (after.auc_d_tau == pytest.approx(before.auc_d_tau, abs=1e-6)) == affine


def test_figures_ignore_the_order_and_the_shape_of_the_pixels():
    anomaly_map, truth = random_case()
    order = np.random.default_rng(1).permutation(truth.size)
    shuffled = metrics.evaluate(anomaly_map.ravel()[order], truth.ravel()[order])
    expected = metrics.evaluate(anomaly_map, truth)
    assert shuffled.as_dict() == pytest.approx(expected.as_dict(), abs=1e-12)


@settings(max_examples=40)
@given(scored_truths())
def test_swapping_the_classes_and_the_sign_leaves_the_auc(case):
    scores, labels = case
    assert metrics.roc_auc(-scores, ~labels) == metrics.roc_auc(scores, labels)
    assert metrics.roc_auc(-scores, labels) == pytest.approx(1 - metrics.roc_auc(scores, labels), abs=1e-15)


@settings(max_examples=40)
@given(scored_truths())
def test_identities_of_the_3d_roc(case):
    scores, labels = case
    assume(np.ptp(scores) > 0)
    m = metrics.evaluate(scores, labels)
    assert m.auc_odp == pytest.approx(1 + m.auc_tdbs, abs=1e-12)
    assert m.auc_od == pytest.approx(m.auc_td + m.auc_bs - m.auc, abs=1e-12)
    assert m.auc_od == pytest.approx(m.auc + m.auc_odp - 1, abs=1e-12)
    assert m.auc_tdbs == pytest.approx(m.auc_td - m.auc - m.auc_f_tau, abs=1e-12)
    if m.auc_f_tau > 0:
        assert m.auc_snpr * m.auc_f_tau == pytest.approx(m.auc_d_tau, abs=1e-12)
    assert 0 <= m.auc_d_tau <= 1
    assert 0 <= m.auc_f_tau <= 1


def test_evaluate_gathers_the_single_figures():
    anomaly_map, truth = random_case()
    m = metrics.evaluate(anomaly_map, truth)
    assert m.auc == metrics.roc_auc(anomaly_map, truth)
    assert m.average_precision == metrics.average_precision(anomaly_map, truth)
    assert m.partial_auc_1pct == metrics.partial_auc(anomaly_map, truth)
    assert m.detection_rate_at_1e3 == metrics.detection_rate_at(anomaly_map, truth, 1e-3)
    assert m.detection_rate_at_1e2 == metrics.detection_rate_at(anomaly_map, truth, 1e-2)
    assert (m.auc, m.auc_d_tau, m.auc_f_tau) == metrics.roc_3d(anomaly_map, truth)
    assert (m.anomalous_pixels, m.background_pixels) == (truth.sum(), (~truth).sum())


# Edges


def test_a_constant_map_has_no_information():
    truth = np.zeros((4, 5), dtype=np.uint8)
    truth[1, 2] = 255
    m = metrics.evaluate(np.full((4, 5), 3.7, dtype=np.float32), truth)
    assert m.auc == 0.5
    assert m.average_precision == 1 / 20
    assert m.partial_auc_1pct == pytest.approx(0.005)
    assert (m.detection_rate_at_1e3, m.detection_rate_at_1e2) == (0, 0)
    assert (m.auc_d_tau, m.auc_f_tau, m.auc_td, m.auc_bs, m.auc_odp) == (0, 0, 0.5, 0.5, 1)
    assert math.isnan(m.auc_snpr)


def test_a_perfect_map():
    truth = np.zeros(50)
    truth[7] = 1
    m = metrics.evaluate(truth * 2.5, truth)
    assert (m.auc, m.average_precision, m.partial_auc_1pct, m.detection_rate_at_1e3) == (1, 1, 1, 1)
    assert (m.auc_td, m.auc_bs, m.auc_tdbs, m.auc_od, m.auc_odp) == (2, 1, 1, 2, 2)
    assert m.auc_snpr == math.inf


def test_masked_pixels_are_left_out():
    anomaly_map, truth = random_case()
    expected = metrics.evaluate(anomaly_map[:, 5:], truth[:, 5:])
    anomaly_map[:, :5] = np.nan
    assert metrics.evaluate(anomaly_map, truth) == expected
    assert metrics.evaluate(np.ma.masked_invalid(np.nan_to_num(anomaly_map, nan=np.inf)), truth) == expected
    labels = truth.astype(float)
    labels[:, :5] = np.nan  # no truth is needed where there is no score
    assert metrics.evaluate(anomaly_map, labels) == expected


@pytest.mark.parametrize(
    ("anomaly_map", "truth", "message"),
    [
        (np.zeros((3, 4)), np.zeros((4, 3)), r"same shape, found \(3, 4\) and \(4, 3\)"),
        ([1.0, np.inf, 0.0], [1, 0, 0], "finite map .* found 1 "),
        ([1.0, 2.0, 0.0], [1, np.nan, 0], "finite ground truth .* found 1 "),
        ([1.0, 2.0, 0.0], [0, 0, 0], "found 0 anomalous of 3"),
        ([1.0, 2.0, 0.0], [1, 1, 1], "found 3 anomalous of 3"),
        ([1.0, np.nan, 0.0], [0, 1, 0], "found 0 anomalous of 2"),
        ([np.nan, np.nan], [0, 1], "found 0 anomalous of 0"),
    ],
)
def test_what_cannot_be_compared_is_refused(anomaly_map, truth, message):
    for figure in (metrics.evaluate, metrics.roc_auc, metrics.roc_3d, metrics.pr_curve):
        with pytest.raises(SceneError, match=message):
            figure(anomaly_map, truth)


@pytest.mark.parametrize("rate", [-0.1, 1.1, math.nan])
def test_rates_out_of_range_are_refused(rate):
    with pytest.raises(ConfigError, match=r"in \(0, 1\]"):
        metrics.partial_auc([0.0, 1.0], [0, 1], rate)
    with pytest.raises(ConfigError, match=r"in \[0, 1\]"):
        metrics.detection_rate_at([0.0, 1.0], [0, 1], rate)


def test_the_inputs_are_not_changed():
    anomaly_map, truth = random_case()
    copies = anomaly_map.copy(), truth.copy()
    metrics.evaluate(anomaly_map, truth)
    np.testing.assert_array_equal(anomaly_map, copies[0])
    np.testing.assert_array_equal(truth, copies[1])


# Output


def test_as_dict_is_strict_json_and_complete():
    truth = np.array([0, 0, 1])
    figures = metrics.evaluate(truth.astype(float), truth).as_dict()
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    assert figures["auc_snpr"] is None
    assert figures["anomalous_pixels"] == 1
    assert len(figures) == 15


def test_format_table_is_aligned_and_shows_every_figure():
    m = metrics.evaluate(*random_case())
    lines = metrics.format_table(m).split("\n")
    starts = {line.rindex("  ") for line in lines}
    assert len(starts) == 1  # one column of values
    text = "\n".join(lines)
    for name, value in m.as_dict().items():
        digits = {"auc": 5, "auc_snpr": 2, "anomalous_pixels": 0, "background_pixels": 0}.get(name, 4)
        assert f"{value:.{digits}f}" in text, name


# The published maps


def load(folder, file, variable="SAD_result"):
    return loadmat(folder / file)[variable]


@pytest.mark.parametrize(
    ("scene", "truth_file", "variable", "auc", "average_precision"),
    [
        ("hydice", "hydice.mat", "map", 0.99960, 0.8955),
        ("hyperion", "hyperion.mat", "map", 0.99893, 0.8451),
        ("salinas1", "salinas1_gt.mat", "map", 0.99955, 0.9359),
        ("pavia", "pavia_center_gt.mat", "map", 0.99553, 0.8697),
        ("pavia", "pavia_center_gt.mat", "map_abu68", 0.98995, 0.7228),
        ("pavia", "pavia_center_gt.mat", "map_wu43", 0.99858, 0.7570),
    ],
)
def test_published_maps(data_dir, reference_dir, scene, truth_file, variable, auc, average_precision):
    anomaly_map = load(reference_dir, f"{scene}_published_map.mat")
    truth = load(reference_dir if scene == "salinas1" else data_dir, truth_file, variable)
    if scene == "pavia":  # the map is of a larger crop
        anomaly_map, truth = anomaly_map[:101, :115], truth[4:105, 5:120]
    m = metrics.evaluate(anomaly_map, truth)
    assert round(m.auc, 5) == auc
    assert round(m.average_precision, 4) == average_precision


def test_3d_roc_of_the_published_hydice_map(data_dir, reference_dir):
    m = metrics.evaluate(load(reference_dir, "hydice_published_map.mat"), load(data_dir, "hydice.mat", "map"))
    figures = (m.auc_d_tau, m.auc_f_tau, m.auc_td, m.auc_bs, m.auc_tdbs, m.auc_od, m.auc_odp)
    assert figures == pytest.approx((0.5572, 0.0792, 1.5568, 0.9205, 0.4781, 1.4777, 1.4781), abs=1e-4)
    assert m.auc_snpr == pytest.approx(7.04, abs=0.005)
