"""A scene larger than the memory allowed: peak resident memory, as the system counts it, and time.

    python -m benchmarks.large_scene [--rows 4000 --cols 1200 --bands 285 --max-memory 2GiB] [--quick]

A smooth float32 scene with planted pixels is written to a temporary folder as ENVI (5.5 GB at full size), detected by
the command line in a process of its own, in one view and with few perturbations, and deleted. The planted pixels tell
whether the map is one. Five minutes on two CPU cores.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.common import environment, write_result
from scoread_jax import metrics
from scoread_jax.execution import parse_bytes
from scoread_jax.io import read_map

PLANTED = 200
RECIPE = (
    "--closed_form.views", "standardised", "--train.steps", "500",
    "--detect.perturbations", "2", "--detect.times", "1.6",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--cols", type=int, default=1200)
    parser.add_argument("--bands", type=int, default=285)
    parser.add_argument("--max-memory", default="2GiB")
    parser.add_argument("--quick", action="store_true", help="a small scene; nothing is written")
    options = parser.parse_args()
    shape = (300, 200, 60) if options.quick else (options.rows, options.cols, options.bands)
    with tempfile.TemporaryDirectory() as folder:
        scene, truth = Path(folder) / "scene.img", write_scene(Path(folder) / "scene.img", shape)
        command = [sys.executable, "-m", "scoread_jax", "detect", str(scene), "-o", f"{folder}/out", "--json"]
        start = time.perf_counter()
        ran = subprocess.run(
            [*command, "--max-memory", options.max_memory, *RECIPE], check=True, stdout=subprocess.PIPE, text=True
        )
        seconds = time.perf_counter() - start
        found = metrics.evaluate(read_map(f"{folder}/out/map.npy"), truth)
        result = {
            "environment": environment(),
            "shape": shape,
            "recipe": RECIPE,
            "file_bytes": scene.stat().st_size,
            "max_memory": parse_bytes(options.max_memory),
            "peak_resident_bytes": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024,
            "seconds": seconds,
            "seconds_of_detection": json.loads(ran.stdout)["seconds"],
            "auc_of_planted": found.auc,
        }
    print(json.dumps(result, indent=1))
    if not options.quick:
        write_result("large_scene", result)


def write_scene(path: Path, shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    """Write a scene of slowly changing mixtures of five spectra, row after row; returns the planted pixels."""
    rows, cols, bands = shape
    rng = np.random.default_rng(seed)
    spectra = np.abs(rng.normal(size=(5, bands)).cumsum(axis=1)) + 1
    phases = rng.uniform(0, 2 * np.pi, (5, 2))
    truth = np.zeros((rows, cols), bool)
    truth.ravel()[rng.choice(rows * cols, PLANTED, replace=False)] = True
    odd = np.abs(rng.normal(size=bands).cumsum()) + 1
    with path.open("wb") as file:
        for row in range(rows):
            place = np.arange(cols)[:, None] / 90 + phases[:, 0] + row / 70 * np.sin(phases[:, 1])
            shares = np.exp(2 * np.sin(place))
            line = shares / shares.sum(axis=1, keepdims=True) @ spectra
            line[truth[row]] = 0.5 * (line[truth[row]] + odd)
            file.write((line + 0.02 * rng.normal(size=line.shape)).astype("<f4").tobytes())
    header = (
        f"ENVI\nsamples = {cols}\nlines = {rows}\nbands = {bands}\ndata type = 4\ninterleave = bip\nbyte order = 0\n"
    )
    path.with_suffix(".hdr").write_text(header)
    return truth


if __name__ == "__main__":
    main()
