"""The detector in the manner of scikit-learn: on spectra in a table, ``(n_samples, n_bands)``.

A table has no neighbourhoods, so of the detector's members those that look at no surroundings take part: the network
and the nearest spectra of the whole table (``samples.MEMBERS``). An image finds more by its surroundings: give it to
``anomaly_map``, or to ``fit`` and ``score``, as a scene.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from scoread_jax import config as configuration
from scoread_jax import samples
from scoread_jax.config import Config
from scoread_jax.errors import ConfigError
from scoread_jax.extras import extra

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator, OutlierMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.validation import check_is_fitted, validate_data
else:
    BaseEstimator, OutlierMixin = (
        getattr(extra("sklearn.base", "sklearn"), n) for n in ("BaseEstimator", "OutlierMixin")
    )
    check_random_state = extra("sklearn.utils", "sklearn").check_random_state
    check_is_fitted = extra("sklearn.utils.validation", "sklearn").check_is_fitted
    validate_data = extra("sklearn.utils.validation", "sklearn").validate_data

# Where contamination is "auto": a normal law has one sample in 740 beyond.
_AUTO_OFFSET = -3.0


class ScoreAD(OutlierMixin, BaseEstimator):
    """Score-based anomaly detection on spectra, without labels (ScoreAD, arXiv 2601.12379, and its default here).

    A sample's score is its own: it does not depend on what else is scored, nor on the order. Fitting and scoring with
    the same parameters give the same numbers again.

    Args:
        config: a preset's name, a TOML file, or a ``Config``.
        overrides: values in place of the configuration's, by dotted key: ``{"train.steps": 500}``.
        times: noise times, in place of ``detect.times``; what a grid search would look over.
        contamination: fraction of anomalies among the training samples, in (0, 0.5], which ``predict`` then finds
            there; or ``"auto"``: all that lies three robust standard deviations above their median.
        random_state: of all random draws; the configuration's seed where None.

    Attributes:
        model_: what was learned, a ``samples.SampleDetector``.
        offset_: ``decision_function`` is ``score_samples`` less this.
        n_features_in_: bands.
        feature_names_in_: their names, where the training samples had any.
    """

    def __init__(
        self,
        config: str | Config = "default",
        *,
        overrides: Mapping[str, Any] | None = None,
        times: Sequence[float] | None = None,
        contamination: float | str = "auto",
        random_state: Any = None,
    ) -> None:
        self.config = config
        self.overrides = overrides
        self.times = times
        self.contamination = contamination
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> ScoreAD:
        """Learn from spectra, anomalies among them or not.

        Args:
            X: finite, any unit, [n_samples, n_bands], two of each or more.
            y: not looked at.

        Raises:
            ConfigError: for a parameter that is not valid.
            TrainingError: when training diverges.
        """
        recipe = self._recipe()
        table: Any = validate_data(self, X, dtype=np.float64, ensure_min_samples=2, ensure_min_features=2)
        self.model_ = samples.fit(table, recipe)
        self.offset_ = _AUTO_OFFSET
        if self.contamination != "auto":
            self.offset_ = float(np.percentile(-samples.score(self.model_, table), 100.0 * float(self.contamination)))
        return self

    def anomaly_score(self, X: Any) -> np.ndarray:
        """How anomalous each sample is: higher = more anomalous, as in an anomaly map.

        Args:
            X: finite, [n_samples, n_bands].

        Returns:
            float64 [n_samples], in robust standard deviations of the training samples, whose median is 0.
        """
        check_is_fitted(self)
        table: Any = validate_data(self, X, dtype=np.float64, reset=False)
        return samples.score(self.model_, table)

    def score_samples(self, X: Any) -> np.ndarray:
        """The negative of ``anomaly_score``: scikit-learn's sign, higher = more normal; [n_samples]."""
        return -self.anomaly_score(X)

    def decision_function(self, X: Any) -> np.ndarray:
        """``score_samples`` less ``offset_``: negative for what ``predict`` calls an anomaly; [n_samples]."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> np.ndarray:
        """−1 for an anomaly, 1 for the rest; int [n_samples]."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def _recipe(self) -> Config:
        fraction = self.contamination
        if fraction != "auto" and (isinstance(fraction, str) or not 0 < fraction <= 0.5):
            raise ConfigError(f"contamination must be in (0, 0.5] or 'auto', found {fraction!r}")
        recipe = self.config if isinstance(self.config, Config) else configuration.load(self.config)
        values = dict(self.overrides or {})
        if self.times is not None:
            values["detect.times"] = tuple(self.times)
        if self.random_state is not None:
            values["seed"] = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        return configuration.replace(recipe, values)
