"""Time until something is there: the import, the help, and the first map of a machine that has compiled nothing.

    python -m benchmarks.cold_start [--device cpu|gpu|tpu] [--rounds 7] [--quick]

Each in a process of its own, whose start counts; three rounds of the first map, which has an empty compile cache each
time. Three minutes on two CPU cores.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any

from benchmarks import timing

_FIRST_MAPS = 3
_COMMAND = (sys.executable, "-m", "scoread_jax")
_CACHES = ("JAX_COMPILATION_CACHE_DIR", "JAX_NUM_CPU_DEVICES")


def main() -> None:
    chosen = timing.options(__doc__)
    short = {
        "`python -c pass`": lambda: run(sys.executable, "-c", "pass"),
        "`import scoread_jax`": lambda: run(sys.executable, "-c", "import scoread_jax"),
        "`scoread --help`": lambda: run(*_COMMAND, "--help"),
    }
    taken = timing.interleaved(short, chosen.rounds)
    device = () if chosen.device is None else ("--device", chosen.device)
    maps = [timing.seconds(first_map(*device)) for _ in range(min(chosen.rounds, _FIRST_MAPS))]
    taken["`scoread detect synthetic --config demo`, nothing compiled before"] = timing.spread(maps)
    rows: list[dict[str, Any]] = [{"what": what, "seconds": found} for what, found in taken.items()]
    for row in rows:
        print(f"{row['what']}: {row['seconds']['median']:.2f} s")
    timing.write("cold_start", chosen, {"rows": rows})


def first_map(*options: str) -> Callable[[], None]:
    """A map of the embedded scene with nothing in any cache."""

    def work() -> None:
        with tempfile.TemporaryDirectory() as folder:
            command = (*_COMMAND, "detect", "synthetic", "--config", "demo", "--quiet", "--out", f"{folder}/map")
            run(*command, *options, XDG_CACHE_HOME=folder)

    return work


def run(*command: str, **environment: str) -> None:
    """Run a command as a user would who has set nothing."""
    inherited = {name: value for name, value in os.environ.items() if name not in _CACHES}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=inherited | environment)


if __name__ == "__main__":
    main()
