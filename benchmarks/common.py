"""What every benchmark shares: where results and reference files lie, and on what they were made."""

from __future__ import annotations

import json
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np

from scoread_jax import __version__
from scoread_jax.io.atomic import write_json

RESULTS = Path(__file__).resolve().parent / "results"
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "scipy")


def environment() -> dict[str, Any]:
    """Device, threads and versions, to stand beside every figure."""
    device = jax.devices()[0]
    return {
        "device": device.device_kind if device.platform != "cpu" else _processor(),
        "platform": device.platform,
        "devices": jax.device_count(),
        "threads": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        "versions": {"scoread_jax": __version__} | {name: metadata.version(name) for name in _PACKAGES},
    }


def reference_folder() -> Path:
    """The authors' networks and maps (``SCOREAD_REFERENCE_DIR``, default ``../shared/reference``)."""
    folder = Path(os.environ.get("SCOREAD_REFERENCE_DIR", "../shared/reference"))
    if not folder.is_dir():
        raise SystemExit(f"{folder} does not exist: set SCOREAD_REFERENCE_DIR to the folder of the published files")
    return folder


def published_map(name: str) -> np.ndarray:
    """The anomaly map that ScoreAD's authors published for a scene, [rows, cols]."""
    from scoread_jax.io import read_map

    return np.asarray(read_map(reference_folder() / f"{name}_published_map.mat"), np.float64)


def overlap(name: str, anomaly_map: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The part of our map, of the published map and of the ground truth that show the same pixels.

    The published Pavia map covers 150 × 150 pixels; its [0:101, 0:115] is our scene's [4:105, 5:120]. Four pixels along
    the edges of that window are left out, where the rings are not the same.
    """
    published = published_map(name)
    if name != "pavia":
        return anomaly_map, published, truth
    ours = (slice(4 + 4, 105 - 4), slice(5 + 4, 120 - 4))
    return anomaly_map[ours], published[4 : 101 - 4, 4 : 115 - 4], truth[ours]


def read_result(name: str) -> Any:
    """A result written before, or None."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def write_result(name: str, result: Any) -> None:
    """Write ``benchmarks/results/{name}.json``."""
    RESULTS.mkdir(exist_ok=True)
    write_json(RESULTS / f"{name}.json", result)


def mean_and_deviation(values: list[float]) -> tuple[float, float]:
    """Mean and sample standard deviation."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")


def _processor() -> str:
    """The CPU's name and its longest vectors: machines of one name may differ by them."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = (line.partition(":") for line in cpuinfo.read_text().splitlines())
        about = {key.strip(): value.strip() for key, _, value in lines}
        vectors = [name for name, flag in (("AVX-512", "avx512f"), ("AVX2", "avx2")) if flag in about.get("flags", "")]
        if "model name" in about:
            return about["model name"] + (f" with {vectors[0]}" if vectors else "")
    return platform.processor() or platform.machine()
