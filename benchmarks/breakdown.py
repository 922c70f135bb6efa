"""What the time goes into: of an evaluation, of a training step, and of a run from file to files.

    python -m benchmarks.breakdown [--device cpu|gpu|tpu] [--rounds 5] [--quick]

XLA's own trace says how long each compiled operation takes, and the compiled program what it was written as. XLA fuses
neighbouring operations into one; such a one counts for what it ends with. Tracing itself takes time, so the shares are
of the traced operations. Three minutes on two CPU cores.
"""

from __future__ import annotations

import collections
import glob
import gzip
import importlib
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from benchmarks import roofline, timing, train_epoch
from scoread_jax import cli, parallel
from scoread_jax.parallel.pixels import _compiled as program_for

SCENE, PIXELS, STEPS = "pavia", 200, 100  # pixels of each device

# By what an operation was written as, the first that fits: where in the program, which operation.
_KINDS = (
    ("the network, by code of our own", "ffi_call$"),
    ("noise", "threefry|_normal|_uniform|erf_inv|shuffle"),
    ("products, backward", r"transpose\(.*(dot_general|/transpose)$"),
    ("products", "dot_general$"),
    ("norms and swish", "_norm_and_swish|silu|rsqrt|/(var|mean|reduce_sum)$"),
    ("moving and adding taps", "(_up|_down)/|UNet1D[^/]*/(concatenate|stack|add|split)$"),
    ("other parts of the network, backward", r"transpose\(.*(UNet1D|MLP)"),
    ("other parts of the network", "UNet1D|MLP"),
    ("loss, statistic", "jvp|norm|closed_call$|closed_call/(mul|add|div|reduce_sum|select_n)"),
)
_REST_OF_A_STEP = "optimiser, loops and copies"

_STAGES = {
    "reading": "scoread_jax.commands.shared:scene",
    "members that need no training": "scoread_jax.pipeline:closed_form_members",
    "training": "scoread_jax.train:fit",
    "scoring with the network": "scoread_jax.pipeline:network_member",
    "figures, report, files": "scoread_jax.results:write",
}


class Work(NamedTuple):
    """Something compiled: its program, what gives its arguments, and how many evaluations or steps it is."""

    program: Any
    arguments: Callable[[], tuple[Any, ...]]
    repeats: int


def main() -> None:
    chosen = timing.options(__doc__, rounds=5)
    stages = of_a_run(1 if chosen.quick else chosen.rounds, chosen.device, chosen.quick)
    print(", ".join(f"{stage} {taken['median']:.2f} s" for stage, taken in stages.items()), flush=True)
    pixels, steps = (8, 4) if chosen.quick else (PIXELS, STEPS)
    compiled = []
    for what, rest, work in (
        ("published network: an evaluation", "loops and copies", scoring(pixels)),
        ("an evaluation by XLA alone", "loops and copies", scoring(pixels, native=False)),
        ("published network: a step of 16", _REST_OF_A_STEP, training("scoread-hydice", 175, 16, steps)),
        ("default: a step of 128", _REST_OF_A_STEP, training("default", 30, 128, steps)),
    ):
        compiled.append({"what": what, **traced(work, rest, chosen.rounds)})
        told = ", ".join(f"{name} {100 * share:.0f} %" for name, share in compiled[-1]["shares"].items())
        print(f"{what}: {1e6 * compiled[-1]['seconds']['median']:.1f} µs; {told}", flush=True)
    timing.write("breakdown", chosen, {"compiled": compiled, "scene": SCENE, "stages": stages})


def scoring(pixels: int, native: bool = True) -> Work:
    """Scoring with the published network, by the program that scenes are scored with or by XLA alone."""
    devices, found = parallel.placement().devices, list[Work]()

    def spread(fn: parallel.PixelFunction, *arguments: Any, **_: Any) -> jax.Array:
        program = program_for(fn, "jit", devices).lower(*arguments).compile()
        found.append(Work(program, lambda: arguments, count * roofline.K))
        return program(*arguments)

    count = pixels * len(devices)
    roofline.score(count, spread=spread, native=native)()
    return found[0]


def training(preset: str, bands: int, batch: int, steps: int) -> Work:
    """Training on made spectra."""
    run, start = train_epoch.loop(preset, bands, batch, steps)
    return Work(run.func.lower(*start(), **run.keywords).compile(), start, steps)


def traced(work: Work, rest: str, rounds: int) -> dict[str, Any]:
    """Seconds of one of its evaluations or steps, untraced, and the share of each kind of operation and of the rest."""

    def run() -> Any:
        return work.program(*work.arguments())

    jax.block_until_ready(run())
    taken = timing.spread([timing.seconds(run) / work.repeats for _ in range(rounds)])
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            jax.block_until_ready(run())
        (path,) = glob.glob(f"{folder}/**/*.trace.json.gz", recursive=True)
        with gzip.open(path) as file:
            events = json.load(file)["traceEvents"]
    text = work.program.as_text()
    module = text.split(",", 1)[0].removeprefix("HloModule ")
    written_as = dict(re.findall(r'%?([\w.-]+) = .*op_name="([^"]*)"', text))
    spent: collections.Counter[str] = collections.Counter()
    for event in events:
        about = event.get("args", {})
        operation = about.get("hlo_op", "")
        ended = event.get("ph") == "X" and about.get("hlo_module") == module and event["name"] == operation
        if ended and not operation.startswith(("while", "call", "conditional")):  # their parts are counted
            place = written_as.get(operation, "")
            spent[next((kind for kind, pattern in _KINDS if re.search(pattern, place)), rest)] += event["dur"]
    total = sum(spent.values())
    return {"seconds": taken, "shares": {name: value / total for name, value in spent.most_common()}}


def of_a_run(rounds: int, device: str | None, quick: bool) -> dict[str, dict[str, float]]:
    """Seconds of the stages of ``scoread detect`` with the default, in processes of their own."""
    found = [one_run(device, quick) for _ in range(rounds + 1)][1:]  # the first one may compile
    return {stage: timing.spread([run[stage] for run in found]) for stage in found[0]}


def one_run(device: str | None, quick: bool) -> dict[str, float]:
    """Seconds of each stage, and of all."""
    with tempfile.TemporaryDirectory() as folder:
        command = timing.detect_command("synthetic" if quick else SCENE, folder, device, quick)
        code = f"from benchmarks.breakdown import staged; staged({command!r})"
        start = time.perf_counter()
        run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        whole = time.perf_counter() - start
    stages = json.loads(run.stdout.splitlines()[-1])
    return {**stages, "start, imports and the rest": whole - sum(stages.values()), "all": whole}


def staged(command: list[str]) -> None:
    """Run a command and print the seconds of its stages."""
    taken: dict[str, float] = {}
    for stage, place in _STAGES.items():
        module, name = place.split(":")
        inside = importlib.import_module(module)
        setattr(inside, name, timed(getattr(inside, name), stage, taken))
    cli.main(command)
    print(json.dumps(taken))


def timed(function: Callable[..., Any], stage: str, taken: dict[str, float]) -> Callable[..., Any]:
    """The same function; what it takes is written down."""

    def with_a_clock(*arguments: Any, **options: Any) -> Any:
        start = time.perf_counter()
        try:
            return function(*arguments, **options)
        finally:
            taken[stage] = taken.get(stage, 0.0) + time.perf_counter() - start

    return with_a_clock


if __name__ == "__main__":
    main()
