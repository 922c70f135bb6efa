"""Time and memory against size, from small to large: pixels, bands, perturbations and noise times.

    python -m benchmarks.scaling [--device cpu|gpu|tpu] [--rounds 3] [--quick]

``pipeline.score`` with the published network on made scenes, as a user calls it, each point in a process of its own, so
that its memory is its own: the most that was resident, less what was resident with the scene in memory. The slope is
that of a line through the logarithms. Writes ``results/scaling.png`` too. Ten minutes on two CPU cores.
"""

from __future__ import annotations

import contextlib
import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks import plots, timing
from benchmarks.common import RESULTS
from scoread_jax import config, pipeline, scene
from scoread_jax.detect import Detector
from scoread_jax.model import build
from scoread_jax.report import save_figure

USUAL = {"pixels": 1000, "bands": 200, "perturbations": 20, "times": 1}
VARIED = {
    "pixels": [{"pixels": pixels, "perturbations": 4} for pixels in (10**3, 10**4, 10**5, 10**6)],
    "bands": [{"pixels": 4000, "bands": bands} for bands in (50, 100, 200, 425)],
    "perturbations": [{"perturbations": K} for K in (10, 30, 100, 300)],
    "times": [{"times": times} for times in (1, 2, 4, 8)],
}
QUICK = {"pixels": [{"pixels": pixels, "perturbations": 2} for pixels in (100, 200)]}

# A call that takes longer is timed once.
_ONCE = 20.0


def main() -> None:
    parser = timing.parser(__doc__, rounds=3)
    parser.add_argument("--point", type=json.loads, help="one size, measured here, printed as JSON")
    chosen = timing.prepared(parser)
    if chosen.point is not None:
        print(json.dumps(measure(chosen.point, chosen.rounds)))
        return
    rows = []
    varied = QUICK if chosen.quick else VARIED
    for name, sizes in varied.items():
        for size in sizes:
            rows.append({"varied": name} | in_own_process(USUAL | size, chosen.rounds, chosen.device))
            took, more = rows[-1]["seconds"]["median"], rows[-1]["megabytes"]
            print(f"{name} {rows[-1][name]}: {took:.3f} s, {more:.0f} MB beyond the scene's {rows[-1]['scene']:.0f}")
    slopes = timing.slopes(rows)
    print("slopes", {name: round(value, 3) for name, value in slopes.items()})
    timing.write("scaling", chosen, {"rows": rows, "slopes": slopes})
    if not chosen.quick:
        save_figure(plots.growth(rows, slopes), RESULTS / "scaling.png")


def in_own_process(size: dict[str, int], rounds: int, device: str | None) -> dict[str, Any]:
    """One point."""
    command = [sys.executable, "-m", "benchmarks.scaling", "--point", json.dumps(size), "--rounds", str(rounds)]
    done = subprocess.run(
        command + (["--device", device] if device else []), check=True, stdout=subprocess.PIPE, text=True
    )
    return size | json.loads(done.stdout.splitlines()[-1])


def measure(size: dict[str, int], rounds: int) -> dict[str, Any]:
    """Time of scoring a made scene, after a call that compiles, and what it takes beyond the scene."""
    times = tuple(0.05 * (1 + number) for number in range(size["times"]))
    recipe = config.replace(
        config.load("scoread-hydice"), {"detect.perturbations": size["perturbations"], "detect.times": times}
    )
    variables = jax.device_get(build(recipe, size["bands"]).network.init(jax.random.key(0)))
    rows = 10 ** int(np.log10(size["pixels"]) / 2)
    cube = np.random.default_rng(0).random((rows, size["pixels"] // rows, size["bands"]), np.float32)
    image = scene.make_scene(cube)
    count_peak_anew()
    before = resident_bytes("VmRSS")
    detector = Detector(recipe, variables, size["bands"])
    seconds = [timing.seconds(lambda: pipeline.score(detector, image))]
    for _ in range(1 if seconds[0] > _ONCE else rounds):
        seconds.append(timing.seconds(lambda: pipeline.score(detector, image)))
    return {
        "pixels": image.pixels,
        "seconds": timing.spread(seconds[1:]),
        "megabytes": (resident_bytes("VmHWM") - before) / 2**20,
        "scene": cube.nbytes / 2**20,
    }


def count_peak_anew() -> None:
    """Forget what making the scene took for a while, where the system can."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def resident_bytes(which: str) -> int:
    """What is resident now (``VmRSS``) or was at most (``VmHWM``); where the system does not say, always the latter."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except FileNotFoundError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(which)) * 1024


if __name__ == "__main__":
    main()
