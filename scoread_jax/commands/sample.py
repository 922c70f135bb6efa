"""``scoread sample``: draw spectra from a trained detector."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from scoread_jax.commands import shared
from scoread_jax.commands.options import add_command, add_devices, add_scene
from scoread_jax.errors import ScoreADError


def add(subparsers: Any) -> None:
    """Add the command to the command line."""
    command = add_command(subparsers, "sample", "[SCENE] -d DIR", "draw spectra from a trained detector")
    add_scene(command, required=False)
    command.add_argument("-d", "--detector", type=Path, metavar="DIR", required=True, help="directory of the detector")
    command.add_argument("-n", "--count", type=int, default=1000, metavar="N", help="how many (1000)")
    command.add_argument("-o", "--out", type=Path, default=Path("samples"), metavar="DIR", help="where (samples)")
    command.add_argument(
        "--sampler",
        default="heun",
        metavar="NAME",
        help="heun, euler_maruyama, predictor_corrector or probability_flow (of adaptive steps; needs the extra ode)",
    )
    command.add_argument("--steps", type=int, default=64, metavar="N", help="of the sampler (64)")
    command.add_argument("--seed", type=int, metavar="N", help="of the draws (the detector's)")
    add_devices(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Draw spectra, write them, and plot them beside those of the scene where one is given."""
    import numpy as np

    from scoread_jax import checkpoint, generate, scene
    from scoread_jax.io import atomic_write
    from scoread_jax.report import save_figure
    from scoread_jax.report.drawn import drawn_figure

    shared.prepare_devices(options)
    detector = checkpoint.load(options.detector)
    image = None if options.scene is None else shared.scene(options)
    folder = shared.writable(options.out)
    real = None
    if image is not None:
        real = scene.spectra(image, scene.Normalisation(0.0, 1.0), detector.good_bands)
        if real.shape[1] != detector.bands:
            raise ScoreADError(
                f"{image.source}: expected a scene of the detector's {detector.bands} bands, found {real.shape[1]}; "
                "give the scene that it was trained on, or one of that sensor"
            )
    shared.say(options, f"drawing {options.count} spectra")
    drawn = generate.spectra(detector, options.count, options.sampler, options.steps, options.seed)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / "samples.npy") as temporary:
        np.save(temporary, drawn)
    save_figure(drawn_figure(drawn, real), folder / "samples.png")
    text = f"drawn: {folder / 'samples.npy'}, samples.png"
    shared.result(options, {"folder": str(folder), "spectra": len(drawn), "bands": drawn.shape[1]}, text)
