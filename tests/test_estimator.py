"""The scikit-learn face: the library's own checks, and that a score is a sample's own."""

from __future__ import annotations

import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from scoread_jax import ScoreAD, config, datasets
from scoread_jax.errors import ConfigError, SceneError

# Small enough for the many sizes of table that the checks bring.
SMALL = {
    "network.hidden": 8,
    "network.blocks": 1,
    "network.embedding": 4,
    "train.steps": 20,
    "train.batch_size": 32,
    "detect.perturbations": 4,
    "detect.times": (0.8, 1.6),
}
NEAREST = {"fusion.members": ("scene_nearest",), "fusion.weights": (1.0,), "train.drop": 0.0}

# Names of scikit-learn's checks that cannot hold, and why.
EXPECTED_FAILURES: dict[str, str] = {}


def expected_failures(estimator):
    return EXPECTED_FAILURES


@parametrize_with_checks([ScoreAD(overrides=NEAREST)], expected_failed_checks=expected_failures)
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks([ScoreAD(overrides=SMALL)], expected_failed_checks=expected_failures)
def test_checks_of_scikit_learn_with_the_network(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def table():
    image = datasets.synthetic(rows=40, cols=40, bands=12)
    return image.cube.reshape(-1, 12).astype(np.float64), image.truth.ravel()


@pytest.fixture(scope="module")
def fitted(table):
    return ScoreAD(overrides=SMALL).fit(table[0])


def test_finds_anomalies_and_says_so_in_both_signs(fitted, table):
    samples, anomalous = table
    scores = fitted.anomaly_score(samples)
    assert roc_auc_score(anomalous, scores) > 0.8
    np.testing.assert_array_equal(fitted.score_samples(samples), -scores)
    np.testing.assert_array_equal(fitted.predict(samples) == -1, fitted.decision_function(samples) < 0)
    np.testing.assert_array_equal(fitted.decision_function(samples), -scores - fitted.offset_)
    assert np.median(scores) == pytest.approx(0, abs=1e-6)
    assert np.median(np.abs(scores)) == pytest.approx(1 / 1.4826, rel=1e-6)


def test_the_nearest_spectra_take_the_weight_of_the_rings(fitted):
    image = config.load("default").fusion
    weights = dict(zip(image.members, image.weights, strict=True))
    alone = fitted.model_.config.fusion
    assert alone.members == ("network", "scene_nearest")
    assert alone.weights == (weights["network"], sum(image.weights) - weights["network"])


def test_a_score_does_not_depend_on_the_company(fitted, table):
    samples, _ = table
    scores = fitted.anomaly_score(samples)
    order = np.random.default_rng(0).permutation(len(samples))
    np.testing.assert_allclose(fitted.anomaly_score(samples[order]), scores[order], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(fitted.anomaly_score(samples[7:9]), scores[7:9], rtol=1e-5, atol=1e-5)
    far = np.vstack([samples[:24], 100 * samples[:24]])
    np.testing.assert_allclose(fitted.anomaly_score(far)[:24], scores[:24], rtol=1e-5, atol=1e-5)


def test_a_training_sample_is_not_its_own_neighbour(table):
    samples, _ = table
    model = ScoreAD(overrides=NEAREST).fit(samples)
    moved = samples + 1e-7 * samples.std()  # no longer the same, but its twin is now its neighbour
    assert (model.anomaly_score(moved) < model.anomaly_score(samples)).mean() > 0.95


def test_contamination_is_what_predict_finds(table):
    samples, _ = table
    found = ScoreAD(overrides=NEAREST, contamination=0.1).fit_predict(samples)
    assert np.count_nonzero(found == -1) == round(0.1 * len(samples))


def test_survives_clone_pickle_joblib_and_pandas(fitted, table, tmp_path):
    samples, _ = table
    scores = fitted.anomaly_score(samples)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).anomaly_score(samples), scores)
    joblib.dump(fitted, tmp_path / "model.joblib")
    np.testing.assert_array_equal(joblib.load(tmp_path / "model.joblib").anomaly_score(samples), scores)
    frame = pd.DataFrame(samples, columns=[f"{band} nm" for band in range(12)])
    again = clone(fitted).fit(frame)
    np.testing.assert_array_equal(again.anomaly_score(frame), scores)
    assert list(again.feature_names_in_) == list(frame.columns)


def test_pipeline_and_grid_search_over_times(table):
    samples, anomalous = table
    samples = np.where(anomalous[:, None], 2 * samples, samples)  # what a few components do not lose

    def auc(model, X, y):
        return roc_auc_score(y, -model.score_samples(X))

    steps = make_pipeline(PCA(5, random_state=0), ScoreAD(overrides=SMALL))
    times = {"scoread__times": [(0.4,), (1.6,)]}
    search = GridSearchCV(
        steps, times, scoring=auc, cv=StratifiedKFold(2, shuffle=True, random_state=0), error_score="raise"
    )
    search.fit(samples, anomalous)
    assert search.best_estimator_[-1].model_.config.detect.times == search.best_params_["scoread__times"]
    assert 0.9 < search.best_score_ <= 1
    assert search.cv_results_["mean_test_score"].min() > 0.9


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"contamination": 0.7}, r"contamination must be in \(0, 0.5\]"),
        ({"contamination": "some"}, "found 'some'"),
        ({"overrides": {"context.outer": 5, "context.inner": 3}}, "samples have no surroundings"),
        ({"overrides": {"fusion.members": ("ring_nearest",), "fusion.weights": (1.0,)}}, "found only ring_nearest"),
        ({"overrides": {"detect.time_fusion": "fisher"}}, "compares samples with each other"),
        ({"config": "none"}, "no preset called 'none'"),
    ],
)
def test_refuses_what_has_no_meaning(parameters, words, table):
    with pytest.raises(ConfigError, match=words):
        ScoreAD(**parameters).fit(table[0])


def test_refuses_a_table_of_one_value():
    with pytest.raises(SceneError, match="at least 2 bands that are not constant"):
        ScoreAD(overrides=NEAREST).fit(np.ones((10, 3)))
