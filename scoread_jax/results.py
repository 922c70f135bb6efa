"""What a run leaves behind: the map, its figures, the configuration, and a record of where it all came from."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from scoread_jax import config as configuration
from scoread_jax import metrics, report
from scoread_jax._version import __version__
from scoread_jax.config import Config
from scoread_jax.errors import ScoreADError
from scoread_jax.io import write_json, write_map, write_text
from scoread_jax.metrics import Metrics
from scoread_jax.scene import Scene, digest

FILES = ("map.npy", "map.mat", "map.png", "overview.png", "config.toml", "result.json")
_LIBRARIES = ("jax", "jaxlib", "flax", "optax", "numpy", "scipy")


def write(
    folder: Path, image: Scene, anomaly_map: np.ndarray, config: Config, seconds: float, detector: str = ""
) -> tuple[dict[str, Any], Metrics | None]:
    """Write all ``FILES`` of a run; those of an earlier run in the same place are replaced.

    Args:
        folder: made where it does not exist.
        image: the scene that was scored.
        anomaly_map: float [rows, cols], NaN = masked.
        config: what it was scored with.
        seconds: what it took.
        detector: digest of the detector that scored; none where it was trained on the scene.

    Returns:
        What ``result.json`` holds, and the metrics where the ground truth has both classes.

    Raises:
        ScoreADError: when the system refuses to write.
    """
    found = _metrics(image, anomaly_map)
    record = {
        "scene": scene_record(image),
        "metrics": None if found is None else found.as_dict(),
        "config": configuration.as_table(config),
        "detector": detector,
        "seconds": seconds,
        "versions": _versions(),
    }
    map_figure = report.map_figure(anomaly_map, f"Anomaly map of {image.name}")
    overview = report.overview_figure(image, anomaly_map, found)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ScoreADError(
            f"{folder}: expected a directory for the results, found: {error.strerror}; choose another place"
        ) from error
    write_map(folder / "map.npy", anomaly_map)
    write_map(folder / "map.mat", anomaly_map)
    report.save_figure(map_figure, folder / "map.png")
    report.save_figure(overview, folder / "overview.png")
    write_text(folder / "config.toml", configuration.to_toml(config))
    write_json(folder / "result.json", record)
    return record, found


def describe(image: Scene) -> str:
    """Say in a few lines what a scene holds and what was decided about it."""
    truth = "no ground truth"
    if image.truth is not None:
        truth = f"{np.count_nonzero(image.truth)} anomalous pixels in the ground truth"
    size = f"{image.rows} × {image.cols} pixels, {image.bands} bands, {image.cube.dtype}"
    return "\n  ".join([f"{image.name}: {size}, {truth}", *image.notes])


def scene_record(image: Scene) -> dict[str, Any]:
    """Describe a scene in plain values, with the digest of its data."""
    return {
        "name": image.name,
        "source": image.source,
        "rows": image.rows,
        "cols": image.cols,
        "bands": image.bands,
        "pixels": image.pixels,
        "type": str(image.cube.dtype),
        "anomalous_pixels": None if image.truth is None else int(np.count_nonzero(image.truth)),
        "notes": list(image.notes),
        "sha256": digest(image),
    }


def _metrics(image: Scene, anomaly_map: np.ndarray) -> Metrics | None:
    if image.truth is None or np.unique(image.truth[image.valid]).size < 2:
        return None
    return metrics.evaluate(anomaly_map, image.truth)


def _versions() -> dict[str, str]:
    libraries = {name: metadata.version(name) for name in _LIBRARIES}
    return {"scoread-jax": __version__, "python": platform.python_version()} | libraries
