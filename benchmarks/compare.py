"""Is a difference more than noise? Paired bootstrap over scenes, and ranks with their critical difference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

Figures = dict[str, dict[str, list[float]]]
"""By method, by scene: a figure for each seed."""


class Difference(NamedTuple):
    """A method's mean over scenes less that of the reference.

    Attributes:
        method: of the two, not the reference.
        mean: of the difference.
        low: 2.5 % quantile of its bootstrap distribution.
        high: 97.5 % quantile.
        wins: scenes on which the method is better.
        losses: scenes on which it is worse.
    """

    method: str
    mean: float
    low: float
    high: float
    wins: int
    losses: int

    @property
    def verdict(self) -> str:
        """Whether the interval leaves zero on one side."""
        return "better" if self.low > 0 else "worse" if self.high < 0 else "undecided"


class Ranks(NamedTuple):
    """Mean ranks over scenes, 1 the best, and what two of them must differ by.

    Attributes:
        mean: by method, best first.
        critical_difference: of Nemenyi's test at 5 %.
        p_value: of Friedman's test that all are alike.
    """

    mean: dict[str, float]
    critical_difference: float
    p_value: float


def figures(runs: Sequence[dict[str, Any]], name: str) -> tuple[list[str], Figures]:
    """One figure of all runs, for the scenes that every method has.

    Args:
        runs: cells, see ``benchmarks.cells``.
        name: of a field of ``metrics.Metrics``.

    Returns:
        The scenes, and the figures.
    """
    found: Figures = {}
    for run in runs:
        found.setdefault(run["method"], {}).setdefault(run["scene"], []).append(run["metrics"][name])
    common = [scene for scene in dict.fromkeys(run["scene"] for run in runs) if all(scene in f for f in found.values())]
    return common, {method: {scene: by[scene] for scene in common} for method, by in found.items()}


def paired_bootstrap(found: Figures, reference: str, draws: int = 10_000, seed: int = 0) -> list[Difference]:
    """Every method against a reference, on scenes drawn with replacement and on each a seed of either drawn likewise.

    The resampling is of scenes and of seeds within them, so an interval holds for scenes and seeds like these
    (Efron & Tibshirani 1993, ch. 8). Five scenes or fewer say little, and the interval shows it.

    Args:
        found: see ``figures``.
        reference: one of its methods.
        draws: of the bootstrap.
        seed: of its random numbers.

    Returns:
        A difference for every other method, best first.
    """
    rng = np.random.default_rng(seed)
    scenes = list(found[reference])
    chosen = rng.integers(len(scenes), size=(draws, len(scenes)))

    def resampled(method: str) -> np.ndarray:
        seeds = [found[method][scene] for scene in scenes]
        count = np.asarray([len(values) for values in seeds])
        values = np.stack([np.resize(each, count.max()) for each in seeds])
        return values[chosen, (rng.random(chosen.shape) * count[chosen]).astype(int)].mean(axis=1)

    base = resampled(reference)
    differences = []
    for method in found:
        if method == reference:
            continue
        low, high = np.quantile(resampled(method) - base, [0.025, 0.975])
        each = np.asarray([np.mean(found[method][s]) - np.mean(found[reference][s]) for s in scenes])
        wins, losses = int((each > 0).sum()), int((each < 0).sum())
        differences.append(Difference(method, float(each.mean()), float(low), float(high), wins, losses))
    return sorted(differences, key=lambda difference: -difference.mean)


def ranks(found: Figures) -> Ranks | None:
    """Mean ranks of the methods over scenes (Demšar 2006, JMLR 7:1–30); None for fewer than three methods or scenes.

    Two methods whose mean ranks differ by less than the critical difference
    ``q √(k (k + 1) / 6 N)`` are not told apart by Nemenyi's test (k methods, N scenes).
    """
    methods = list(found)
    scenes = list(found[methods[0]])
    if len(methods) < 3 or len(scenes) < 3:
        return None
    means = np.asarray([[np.mean(found[method][scene]) for method in methods] for scene in scenes])
    rank = stats.rankdata(-means, axis=1).mean(axis=0)
    k, n = len(methods), len(scenes)
    q = stats.studentized_range.ppf(0.95, k, np.inf) / np.sqrt(2)
    order = np.argsort(rank, kind="stable")
    p_value = float(stats.friedmanchisquare(*means.T).pvalue)
    return Ranks({methods[i]: float(rank[i]) for i in order}, float(q * np.sqrt(k * (k + 1) / (6 * n))), p_value)
