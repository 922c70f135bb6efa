"""Score-based hyperspectral anomaly detection: one scene in, an anomaly map out.

    from scoread_jax import read_scene, fit, score
    scene = read_scene("scene.mat")
    anomaly_map = score(fit(scene), scene)

Names are loaded when first used, so that importing the package does not start JAX.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from scoread_jax._version import __version__

if TYPE_CHECKING:
    from scoread_jax.checkpoint import load as load_detector
    from scoread_jax.checkpoint import save as save_detector
    from scoread_jax.config import Config
    from scoread_jax.config import load as load_config
    from scoread_jax.datasets import load as load_dataset
    from scoread_jax.detect import Detector, Functions
    from scoread_jax.errors import ScoreADError
    from scoread_jax.estimator import ScoreAD
    from scoread_jax.io import read_map, read_scene, read_truth, write_map
    from scoread_jax.labelled import anomaly_map
    from scoread_jax.metrics import evaluate
    from scoread_jax.pipeline import fit, score
    from scoread_jax.scene import Scene, make_scene
    from scoread_jax.sde import ExponentialVE, GaussianSDE, LinearVE

__all__ = [
    "Config",
    "Detector",
    "ExponentialVE",
    "Functions",
    "GaussianSDE",
    "LinearVE",
    "Scene",
    "ScoreAD",
    "ScoreADError",
    "__version__",
    "anomaly_map",
    "evaluate",
    "fit",
    "load_config",
    "load_dataset",
    "load_detector",
    "make_scene",
    "read_map",
    "read_scene",
    "read_truth",
    "save_detector",
    "score",
    "write_map",
]

_HOME = {
    "Config": ("config", "Config"),
    "Detector": ("detect", "Detector"),
    "ExponentialVE": ("sde", "ExponentialVE"),
    "Functions": ("detect", "Functions"),
    "LinearVE": ("sde", "LinearVE"),
    "GaussianSDE": ("sde", "GaussianSDE"),
    "Scene": ("scene", "Scene"),
    "ScoreAD": ("estimator", "ScoreAD"),
    "ScoreADError": ("errors", "ScoreADError"),
    "anomaly_map": ("labelled", "anomaly_map"),
    "evaluate": ("metrics", "evaluate"),
    "fit": ("pipeline", "fit"),
    "load_config": ("config", "load"),
    "load_dataset": ("datasets", "load"),
    "load_detector": ("checkpoint", "load"),
    "make_scene": ("scene", "make_scene"),
    "read_map": ("io", "read_map"),
    "read_scene": ("io", "read_scene"),
    "read_truth": ("io", "read_truth"),
    "save_detector": ("checkpoint", "save"),
    "score": ("pipeline", "score"),
    "write_map": ("io", "write_map"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOME[name]
    return getattr(importlib.import_module(f"{__name__}.{module}"), attribute)


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
