"""Time, peak memory and accuracy against detectors of other packages, each run in a process of its own.

    python -m benchmarks.against_peers [--methods default RX ...] [--scenes hydice ...] [--quick]

RX, ridge RX and local RX here and in Spectral Python, k-NN, LOF and isolation forest of scikit-learn, PyOD's
autoencoder (``pip install '.[bench,torch]'``). A process loads the scene, imports what it needs, notes its memory, and
detects twice: the first time compiles. Results are cached by configuration and data like those of ``accuracy``.
Some twenty minutes for all, mostly Spectral Python's local RX.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.accuracy import SCENES
from benchmarks.cells import CACHE
from benchmarks.common import environment, write_result
from benchmarks.peers import OTHERS, PEERS
from benchmarks.variants import Variant, find, of_peer
from scoread_jax import datasets, metrics, scene
from scoread_jax.io.atomic import write_json

# A detector that takes longer is not run a second time.
_ONCE = 60.0


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=["default", *PEERS, *OTHERS])
    parser.add_argument("--scenes", nargs="+", choices=SCENES, default=list(SCENES))
    parser.add_argument("--fresh", action="store_true", help="run again what the cache holds")
    parser.add_argument("--one", action="store_true", help="one method on one scene, here, printed as JSON")
    parser.add_argument("--quick", action="store_true", help="RX on one scene; nothing is written")
    options = parser.parse_args(arguments)
    if options.quick:
        print(json.dumps(_in_own_process("RX", options.scenes[0])))
        return
    if options.one:
        print(json.dumps(measure(options.methods[0], options.scenes[0])))
        return
    runs = []
    for name in options.scenes:
        data = scene.digest(datasets.load(name))[:16]
        for method in options.methods:
            place = CACHE / f"peer-{_variant(method).digest}-{data}.json"
            if options.fresh or not place.is_file():
                CACHE.mkdir(exist_ok=True)
                write_json(place, _in_own_process(method, name))
            runs.append(json.loads(place.read_text(encoding="utf-8")))
            run = runs[-1]
            print(f"{name}  {method}: {run['seconds']:.2f} s, {run['megabytes']:.0f} MB", flush=True)
    write_result("against_peers", {"environment": environment(), "runs": runs})


def measure(method: str, name: str) -> dict[str, Any]:
    """One method on one scene: seconds of the first and of the best run, memory beyond what the start took."""
    from scoread_jax import parallel

    parallel.use_all_cores()
    variant, image = _variant(method), datasets.load(name)
    scene.spectra(image, scene.global_min_max(image))
    before, seconds = _peak_megabytes(), []
    anomaly_map = None
    while not seconds or (len(seconds) < 2 and seconds[0] < _ONCE):
        start = time.perf_counter()
        anomaly_map = variant.detect(image, [0])[0]
        seconds.append(time.perf_counter() - start)
    peak = _peak_megabytes()
    assert anomaly_map is not None
    assert image.truth is not None
    found = metrics.evaluate(anomaly_map, image.truth)
    return {
        "method": method,
        "scene": name,
        "first_seconds": round(seconds[0], 3),
        "seconds": round(min(seconds), 3),
        "megabytes": round(peak - before, 1),
        "peak_megabytes": round(peak, 1),
        "auc": found.auc,
        "average_precision": found.average_precision,
    }


def _in_own_process(method: str, name: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.against_peers", "--one", "--methods", method, "--scenes", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{method} on {name}: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def _variant(method: str) -> Variant:
    peers = PEERS | OTHERS
    return of_peer(method, peers[method], [0]) if method in peers else find(method, [0])


def _peak_megabytes() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


if __name__ == "__main__":
    main()
