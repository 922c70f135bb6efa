"""The published network in plain PyTorch and in this package: one evaluation, one training step, one scene.

    python -m benchmarks.against_pytorch [--device cpu|gpu|tpu] [--rounds 5] [--quick]

Needs PyTorch (``pip install '.[torch]'``) and the authors' HYDICE network. Both get the same threads and take turns; a
ratio is taken within each round and the median is reported. PyTorch is timed as it is and through ``torch.compile``,
whose compilation is not counted. PyTorch's time for a whole scene by the published recipe is extrapolated from its
steps and evaluations; ours by the default is run. Eight minutes on two CPU cores.
"""

from __future__ import annotations

import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch  # pyright: ignore[reportMissingImports]

from benchmarks import timing
from benchmarks.common import reference_folder
from benchmarks.torch_network import BATCH, T, Torch
from scoread_jax import config, datasets, detect, noise, parallel, pipeline, scene, train, weights
from scoread_jax.model import build

STEPS, PERTURBATIONS = 50_000, 100
BATCHES, COMPILED_BATCHES = (64, 128, 256, 512, 1024), (128, 256, 512)


def main() -> None:
    chosen = timing.options(__doc__, rounds=5)
    device = use_threads_and_device()
    image = datasets.load("hydice")
    spectra = scene.spectra(image, scene.global_min_max(image))
    spectra = spectra[:256] if chosen.quick else spectra
    state = weights.read_state_dict(reference_folder() / "hydice_unconditional.pth")
    theirs, ours = Torch(state, spectra, device), weights.from_state_dict(state, conditional=False)
    recipe, default = config.load("scoread-hydice"), config.load("default")
    model, pixels = build(recipe, ours.bands, native=parallel.on_cpu()), len(spectra)
    count, score_count, steps, torch_steps = (256, 64, 4, 2) if chosen.quick else (4096, 2000, 200, 100)

    expected = theirs.output(256)
    known = ours.variables | model.network.at_time(ours.variables, jnp.float32(T))
    one = jax.jit(jax.vmap(model.network.apply, in_axes=(None, 0, None, None)))
    found = np.asarray(one(known, spectra[:256], jnp.float32(T), None))
    difference = float(np.abs(found - expected).max() / np.abs(expected).max())
    assert difference < (1e-4 if device == "cpu" else 2e-2), difference  # on GPUs products are rounded to TF32

    def our_score() -> jax.Array:
        return detect.pixel_scores(
            jax.random.key(0), ours.variables, jnp.asarray(spectra[:score_count]), jnp.arange(score_count), None,
            jnp.asarray([T]), sde=model.sde, score=model.score, forward=model.forward, statistic=model.statistic,
            perturbations=PERTURBATIONS, estimator=noise.ESTIMATORS["reference"], at_time=model.network.at_time,
            chunk=detect.chunk_size(score_count, PERTURBATIONS, model.network.evaluation_bytes),
        )  # fmt: skip

    def our_train() -> jax.Array:
        part = jnp.arange(steps * BATCH, dtype=jnp.int32)
        order = train.epoch_order(jax.random.key(1), 0, part, batch_size=BATCH)
        return train.run_steps(
            jax.random.key(1), train.init_state(ours.variables, recipe.train, len(part)), steps, order,
            jnp.asarray(spectra), None, loss=model.loss, optimizer=train.make_optimizer(recipe.train, STEPS),
            ema_decay=0.0,
        )[1]  # fmt: skip

    def torch_times(one: Torch, batches: tuple[int, ...], prefix: str) -> dict[str, float]:
        whole = one.seconds(lambda: one.score(pixels, pixels)) / pixels
        best = min(one.seconds(lambda b=b: one.score(b, count)) / count for b in batches)
        step = one.seconds(lambda: one.train(torch_steps)) / torch_steps
        figures = {"score_us": whole * 1e6, "score_best_us": best * 1e6, "step_ms": step * 1e3}
        return {f"{prefix}_{name}": value for name, value in figures.items()}

    batches = BATCHES[:1] if chosen.quick else BATCHES
    timing.seconds(our_score)
    timing.seconds(our_train)
    torch_times(theirs, batches, "torch")
    compiled, reason = None, "left out of a quick run"
    if not chosen.quick:
        pipeline.detect(image, default)
        compiled, reason = compiled_or_why_not(state, spectra, device)
    if compiled is not None:
        torch_times(compiled, COMPILED_BATCHES, "compiled")
    rounds = []
    for _ in range(chosen.rounds):
        entry = torch_times(theirs, batches, "torch")
        entry["our_score_us"] = timing.seconds(our_score) / (score_count * PERTURBATIONS) * 1e6
        entry["our_step_ms"] = timing.seconds(our_train) / steps * 1e3
        if compiled is not None:
            entry |= torch_times(compiled, COMPILED_BATCHES, "compiled")
        if not chosen.quick:
            entry["our_default_seconds"] = timing.seconds(lambda: pipeline.detect(image, default)[1])
        rounds.append(entry | ratios(entry, pixels))
        print(rounds[-1], flush=True)
    if chosen.quick:
        return
    medians = {name: float(np.median([entry[name] for entry in rounds])) for name in rounds[0]}
    result = {"torch": torch.__version__, "relative_difference": difference, "not_compiled": reason}
    timing.write("against_pytorch", chosen, result | {"medians": medians, "rounds": rounds})


def use_threads_and_device() -> str:
    """Give PyTorch the cores that JAX has, and the name of the device that it shall work on."""
    torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    return "cuda" if parallel.placement().devices[0].platform == "gpu" and torch.cuda.is_available() else "cpu"


def compiled_or_why_not(state: dict[str, Any], spectra: np.ndarray, device: str) -> tuple[Torch | None, str]:
    """The network through ``torch.compile``, or the first line of what it says."""
    compiled = Torch(state, spectra, device, compiled=True)
    try:
        compiled.output(BATCH)
    except Exception as error:  # no compiler, no support for this machine
        return None, f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
    return compiled, ""


def ratios(entry: dict[str, float], pixels: int) -> dict[str, float]:
    """What PyTorch takes as a multiple of what we take."""
    found = {}
    for name, prefix in (("ratio", "torch"), ("ratio_compiled", "compiled")):
        if f"{prefix}_step_ms" not in entry:
            continue
        found[f"{name}_score"] = entry[f"{prefix}_score_us"] / entry["our_score_us"]
        found[f"{name}_score_best_batch"] = entry[f"{prefix}_score_best_us"] / entry["our_score_us"]
        found[f"{name}_step"] = entry[f"{prefix}_step_ms"] / entry["our_step_ms"]
    if "our_default_seconds" in entry:
        published = entry["torch_step_ms"] / 1e3 * STEPS + entry["torch_score_us"] / 1e6 * pixels * PERTURBATIONS
        found["torch_published_seconds_extrapolated"] = published
        found["ratio_scene"] = published / entry["our_default_seconds"]
    return found


if __name__ == "__main__":
    main()
