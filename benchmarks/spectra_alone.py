"""The default on spectra in a table, as ``scoread_jax.ScoreAD`` sees them: a variant for ``benchmarks.accuracy``."""

from __future__ import annotations

import numpy as np

from scoread_jax import config, samples, scene
from scoread_jax.scene import Scene


def spectra_alone(image: Scene, seed: int) -> np.ndarray:
    """Fit and score the valid pixels of a scene without their places; [rows, cols], NaN where invalid."""
    table = np.asarray(image.cube, np.float64)[image.valid][:, image.good_bands]
    detector = samples.fit(table, config.replace(config.load("default"), {"seed": seed}))
    return scene.to_map(image, samples.score(detector, table))
