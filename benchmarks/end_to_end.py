"""From the raw file to the map on disk: the command line with the default, the published recipe in PyTorch.

    python -m benchmarks.end_to_end [--device cpu|gpu|tpu] [--scenes hydice …] [--seeds 0 1 2] [--quick]

Ours is ``scoread detect FILE`` in a process of its own, from its start to its end, once before for the compile cache
(that first run is told too). PyTorch's training steps and evaluations of the whole scene are timed between the runs and
multiplied by how many the recipe takes: the factor stands in the table. It is given the network without a spatial
condition for Pavia too, which costs it less than the published one. Its AUC and AP are those of the published recipe
from scratch (``benchmarks.reproduce``). Needs PyTorch and the authors' HYDICE network; five minutes on two CPU cores.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import timing
from benchmarks.against_pytorch import use_threads_and_device
from benchmarks.common import read_result, reference_folder
from benchmarks.reproduce import SCENES
from benchmarks.torch_network import Torch
from scoread_jax import config, datasets, metrics, scene, train, weights
from scoread_jax.io import read_map

STEPS = 100


def main() -> None:
    parser = timing.parser(__doc__, rounds=3)
    parser.add_argument("--scenes", nargs="+", choices=SCENES, default=list(SCENES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    chosen = timing.prepared(parser)
    if chosen.quick:
        chosen.scenes, chosen.seeds = chosen.scenes[:1], chosen.seeds[:1]
    known = read_result("reproduce")
    rows = []
    for name in chosen.scenes:
        rows.append(compare(name, chosen.seeds, use_threads_and_device(), chosen.device, chosen.quick))
        if known is not None:
            rows[-1]["published"] = [run["metrics"] for run in known["runs"] if run["scene"] == name]
        print(rows[-1], flush=True)
    timing.write("end_to_end", chosen, {"rows": rows})


def compare(name: str, seeds: list[int], where: str, device: str | None, quick: bool) -> dict[str, Any]:
    """Both on one scene, in turns."""
    image, recipe = datasets.load(name), config.load(f"scoread-{name}")
    assert image.truth is not None
    spectra = scene.spectra(image, scene.global_min_max(image))
    theirs = Torch(state_for(spectra.shape[1]), spectra, where)
    steps, pixels = 2 if quick else STEPS, 256 if quick else len(spectra)
    theirs.train(2)
    theirs.score(pixels, pixels)
    first, _ = detected(name, seeds[0], device, quick)
    ours, figures, step, score = [], [], [], []
    for seed in seeds:
        seconds, anomaly_map = detected(name, seed, device, quick)
        ours.append(seconds)
        figures.append(metrics.evaluate(anomaly_map, image.truth).as_dict())
        step.append(theirs.seconds(lambda: theirs.train(steps)) / steps)
        score.append(theirs.seconds(lambda: theirs.score(pixels, pixels)))
    epochs = train.epochs_of(recipe.train, len(spectra))
    all_steps = epochs * train.steps_per_epoch(len(spectra), recipe.train.batch_size)
    scorings = recipe.detect.perturbations * len(spectra) / pixels
    published = [all_steps * one + scorings * two for one, two in zip(step, score, strict=True)]
    return {
        "scene": name,
        "first_seconds": first,
        "seconds": timing.spread(ours),
        "metrics": figures,
        "torch_step_seconds": timing.spread(step),
        "torch_scene_seconds": timing.spread(score),
        "torch_seconds": timing.spread(published),
        "extrapolated_by": {"steps": all_steps / steps, "scorings": scorings},
        "ratio": timing.spread([one / two for one, two in zip(published, ours, strict=True)]),
    }


def detected(name: str, seed: int, device: str | None, quick: bool) -> tuple[float, np.ndarray]:
    """Seconds of the command line from the files of a scene to files, and the map it wrote."""
    with tempfile.TemporaryDirectory() as folder:
        command = timing.detect_command(name, folder, device, quick)
        command = [sys.executable, "-m", "scoread_jax", *command, "--seed", str(seed)]
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - start, read_map(Path(folder) / "out" / "map.npy")


def state_for(bands: int) -> dict[str, np.ndarray]:
    """The published parameters, those that meet the bands repeated for another number of them."""
    state = weights.read_state_dict(reference_folder() / "hydice_unconditional.pth")
    state["fc1.weight"] = np.resize(state["fc1.weight"], (len(state["fc1.weight"]), bands))
    state["tfc1.weight"] = np.resize(state["tfc1.weight"], (bands, state["tfc1.weight"].shape[1]))
    state["tfc1.bias"] = np.resize(state["tfc1.bias"], bands)
    return state


if __name__ == "__main__":
    main()
