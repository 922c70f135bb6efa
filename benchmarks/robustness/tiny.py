"""A scene and a recipe that go through every stage in a second."""

from __future__ import annotations

import numpy as np

from scoread_jax import config
from scoread_jax.config import Config
from scoread_jax.scene import Scene, make_scene

ROWS_OF_A_BLOCK = 2
_SMALL = {
    "network.hidden": 8, "network.blocks": 1, "network.embedding": 4, "view.components": 4, "train.steps": 60,
    "train.batch_size": 16, "detect.perturbations": 2, "detect.times": [0.8], "closed_form.components": 4,
    "closed_form.views": ["root"], "closed_form.nearest_inner": [1], "closed_form.nearest_outer": [5],
    "closed_form.neighbours": [3], "closed_form.gaussian_inner": [3], "closed_form.gaussian_outer": [9],
    "closed_form.gaussian_components": 3, "closed_form.scene_references": 64, "closed_form.scene_neighbours": 3,
}  # fmt: skip


def recipe() -> Config:
    """Every member of the default, small."""
    return config.replace(config.load("demo"), _SMALL)


def scene(seed: int = 0, rows: int = 12, cols: int = 9, bands: int = 6) -> Scene:
    """Random walks along the bands."""
    cube = np.random.default_rng(seed).normal(size=(rows, cols, bands)).cumsum(axis=2) + 3
    return make_scene(cube.astype(np.float32), name=f"tiny{seed}")
