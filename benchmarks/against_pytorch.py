"""The published network in plain PyTorch and in this package: one evaluation, one training step, one scene.

    python -m benchmarks.against_pytorch [--rounds 5]

Needs PyTorch (``pip install '.[torch]'``) and the authors' HYDICE network. Both get the same threads and take turns; a
ratio is taken within each round and the median is reported. PyTorch's time for a whole scene by the published recipe is
extrapolated from its steps and evaluations; ours by the default is run.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch  # pyright: ignore[reportMissingImports]

from benchmarks.common import environment, reference_folder, write_result
from scoread_jax import config, datasets, detect, noise, parallel, pipeline, scene, train, weights
from scoread_jax.model import build

STEPS, PERTURBATIONS, T, STD, BATCH = 50_000, 100, 0.05, 0.2329, 16


class TorchNetwork(torch.nn.Module):
    """ScoreAD's network without a condition, with the parameter names of the published file."""

    def __init__(self, state: dict[str, np.ndarray]) -> None:
        super().__init__()
        self.p = torch.nn.ParameterDict(
            {name.replace(".", "_"): torch.nn.Parameter(torch.tensor(value)) for name, value in state.items()}
        )
        self.p["embed_0_W"].requires_grad_(False)

    def dense(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """Apply a dense layer by name."""
        return torch.nn.functional.linear(x, self.p[f"{name}_weight"], self.p[f"{name}_bias"])

    def norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """Apply a group norm by name, four channels a group."""
        gain, bias = self.p[f"{name}_weight"], self.p[f"{name}_bias"]
        return torch.nn.functional.group_norm(x, x.shape[1] // 4, gain, bias)

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """``std · score`` [batch, bands] of spectra [batch, bands] at times [batch]."""
        f, silu = torch.nn.functional, torch.nn.functional.silu
        angle = 2 * np.pi * t[:, None] * self.p["embed_0_W"]
        e = silu(self.dense("embed_1", torch.cat([angle.sin(), angle.cos()], 1)))
        h = self.dense("fc1", x) + self.dense("dense1", e)
        h1 = silu(f.layer_norm(h, h.shape[1:], self.p["lnorm1_weight"], self.p["lnorm1_bias"]))[:, None]

        def down(x: torch.Tensor, level: int) -> torch.Tensor:
            y = f.conv1d(x, self.p[f"conv{level}_weight"], stride=2, padding=2)
            return silu(self.norm(f"gnorm{level}", y + self.dense(f"dense{level}_dense", e)[..., None]))

        def up(x: torch.Tensor, level: int) -> torch.Tensor:
            y = f.conv_transpose1d(x, self.p[f"tconv{level}_weight"], None, 2, 2, 1)
            return silu(self.norm(f"tgnorm{level}", y + self.dense(f"tdense{level}_dense", e)[..., None]))

        h2 = down(h1, 2)
        h3 = down(h2, 3)
        u3 = up(torch.cat([up(down(h3, 4), 4), h3], 1), 3)
        u2 = f.conv_transpose1d(torch.cat([u3, h2], 1), self.p["tconv2_weight"], self.p["tconv2_bias"], 2, 2, 1)
        return self.dense("tfc1", torch.cat([u2, h1], 2)[:, 0])


def seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    parallel.use_all_cores()
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(threads)
    image = datasets.load("hydice")
    spectra = scene.spectra(image, scene.global_min_max(image))
    state = weights.read_state_dict(reference_folder() / "hydice_unconditional.pth")
    theirs, ours = TorchNetwork(state), weights.from_state_dict(state, conditional=False)
    recipe = config.load("scoread-hydice")
    model = build(recipe, ours.bands)
    x, pixels = torch.tensor(spectra), len(spectra)

    with torch.no_grad():
        expected = theirs(x[:256], torch.full((256,), T)).numpy()
    one = jax.jit(jax.vmap(model.network.apply, in_axes=(None, 0, None, None)))
    found = np.asarray(one(ours.variables, spectra[:256], jnp.float32(T), None))
    difference = float(np.abs(found - expected).max() / np.abs(expected).max())
    assert difference < 1e-4, difference

    def torch_score(batch: int, count: int) -> None:
        with torch.no_grad():
            for start in range(0, count, batch):
                part = x[start : start + batch]
                s = theirs(part + STD * torch.randn_like(part), torch.full((len(part),), T)) / STD
                s.div_(s.norm(dim=1, keepdim=True))

    def our_score(count: int) -> None:
        detect.pixel_scores(
            jax.random.key(0), ours.variables, jnp.asarray(spectra[:count]), jnp.arange(count), None, jnp.asarray([T]),
            sde=model.sde, score=model.score, statistic=model.statistic, perturbations=PERTURBATIONS,
            estimator=noise.ESTIMATORS["reference"], at_time=model.network.at_time,
            chunk=detect.chunk_size(count, PERTURBATIONS, model.network.evaluation_bytes),
        ).block_until_ready()  # fmt: skip

    optimizer = torch.optim.AdamW([p for p in theirs.parameters() if p.requires_grad], lr=3e-5)

    def torch_train(steps: int) -> None:
        for _ in range(steps):
            part = x[torch.randint(0, pixels, (BATCH,))]
            t = torch.rand(BATCH) * (1 - 1e-5) + 1e-5
            std = ((5 ** (2 * t) - 1) / (2 * np.log(5.0))).sqrt()[:, None]
            z = torch.randn_like(part)
            loss = ((theirs(part + std * z, t) + z) ** 2).sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    def our_train(steps: int) -> None:
        chosen = jnp.arange(steps * BATCH, dtype=jnp.int32)
        order = train.epoch_order(jax.random.key(1), 0, chosen, batch_size=BATCH)
        train.run_steps(
            jax.random.key(1), train.init_state(ours.variables, recipe.train, len(chosen)), steps, order,
            jnp.asarray(spectra), None, loss=model.loss, optimizer=train.make_optimizer(recipe.train, STEPS),
            ema_decay=0.0,
        )[1].block_until_ready()  # fmt: skip

    default = config.load("default")
    batches = (64, 128, 256, 512, 1024)
    our_score(2000)
    our_train(200)
    torch_score(256, 2000)
    torch_train(20)
    pipeline.detect(image, default)
    rounds = []
    for _ in range(options.rounds):
        rounds.append(
            {
                "torch_score_us": seconds(lambda: torch_score(pixels, pixels)) / pixels * 1e6,
                "our_score_us": seconds(lambda: our_score(2000)) / (2000 * PERTURBATIONS) * 1e6,
                "torch_score_best_us": min(seconds(lambda b=b: torch_score(b, 4096)) / 4096 * 1e6 for b in batches),
                "torch_step_ms": seconds(lambda: torch_train(100)) / 100 * 1e3,
                "our_step_ms": seconds(lambda: our_train(200)) / 200 * 1e3,
                "our_default_seconds": seconds(lambda: pipeline.detect(image, default)),
            }
        )
        print(rounds[-1], flush=True)
    for entry in rounds:
        published = entry["torch_step_ms"] / 1e3 * STEPS + entry["torch_score_us"] / 1e6 * pixels * PERTURBATIONS
        entry["torch_published_seconds_extrapolated"] = published
        entry["ratio_score"] = entry["torch_score_us"] / entry["our_score_us"]
        entry["ratio_score_best_batch"] = entry["torch_score_best_us"] / entry["our_score_us"]
        entry["ratio_step"] = entry["torch_step_ms"] / entry["our_step_ms"]
        entry["ratio_scene"] = published / entry["our_default_seconds"]
    medians = {name: float(np.median([entry[name] for entry in rounds])) for name in rounds[0]}
    result = {"environment": environment() | {"torch": torch.__version__}, "relative_difference": difference}
    write_result("against_pytorch", result | {"medians": medians, "rounds": rounds})


if __name__ == "__main__":
    main()
