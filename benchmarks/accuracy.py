"""Any set of detectors on every public scene with ground truth: figures, and whether their differences are noise.

    python -m benchmarks.accuracy [--device cpu|gpu|tpu] [--variants default scoread-hydice FILE.toml FILE.py:NAME …]
        [--scenes hydice …] [--seeds 0 1 2] [--quick]

A variant is a preset, a TOML file of values over the default (``base = "PRESET"`` for another; a table ``[functions]``
with a user's own ``sde``, ``network`` or ``statistic``), or ``FILE.py:NAME``, a whole detector
``(scene, seed) -> map``. RX, ridge RX, local RX, k-NN, LOF and isolation forest stand beside them
(``pip install '.[bench]'``; ``--no-peers`` leaves them out). Runs are cached in ``benchmarks/cache`` by configuration,
data and seed, so an interrupted table goes on where it stopped, and a new variant costs its own runs alone; those of
``results/accuracy.json`` count as cached (``--fresh`` runs all again). The networks of a recipe's seeds are trained in
one compiled loop.

Writes ``results/accuracy.json`` and ``.csv``, ``accuracy-forest.png`` and ``accuracy-ranks.png``, or under the name
given by ``--name``. On two CPU cores ten seconds a seed and scene for the default, which ``--variants default`` runs
alone; a minute a scene for local RX; and an hour and a half for ScoreAD's published recipe, ``scoread-hydice``.
"""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import compare, plots, timing
from benchmarks.cells import fill, remember
from benchmarks.common import RESULTS, environment, write_result
from benchmarks.peers import PEERS
from benchmarks.variants import find, of_peer
from scoread_jax.io.atomic import atomic_write
from scoread_jax.report import save_figure

SCENES = (
    "hydice", "hyperion", "pavia", "los-angeles-1", "los-angeles-2", "gulfport", "texas-coast", "cat-island",
    "sandiego", "salinas-implants-14", "salinas-implants-4",
)  # fmt: skip

VARIANTS = ("default", "scoread-hydice", str(Path(__file__).with_name("spectra_alone.py:spectra_alone")))
"""The default, the published recipe (one for all scenes), and the default without an image."""

COMPARED = {"auc": "AUC", "average_precision": "average precision", "partial_auc_1pct": "partial AUC to 1 %"}
"""The figures whose differences are judged, by field of ``metrics.Metrics``."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = timing.parser(__doc__, rounds=None)
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS))
    parser.add_argument("--scenes", nargs="+", choices=SCENES, default=list(SCENES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--no-peers", action="store_true", help="the variants alone")
    parser.add_argument("--fresh", action="store_true", help="run again what the cache holds")
    parser.add_argument("--name", default="accuracy", help="of the files under results (default: accuracy)")
    options = timing.prepared(parser, arguments)
    if options.quick:
        with tempfile.TemporaryDirectory() as folder:
            fill([find("demo", [0]), of_peer("RX", PEERS["RX"], [0])], options.scenes[:1], folder=Path(folder))
        return
    variants = [find(place, options.seeds) for place in options.variants]
    if not options.no_peers:
        variants += [of_peer(name, peer, options.seeds) for name, peer in PEERS.items()]
    known = RESULTS / "accuracy.json"
    if known.is_file():
        remember(json.loads(known.read_text(encoding="utf-8"))["runs"])
    runs = fill(variants, options.scenes, options.fresh)
    comparison = compared(runs, variants[0].name)
    write_result(options.name, {"environment": environment(), "runs": runs, "comparison": comparison})
    write_csv(options.name, runs)
    draw(options.name, runs, variants[0].name)
    print(f"{RESULTS / options.name}.json, .csv and figures; tables: python -m benchmarks.tables")


def compared(runs: Sequence[dict[str, Any]], reference: str) -> dict[str, Any]:
    """Every method against the reference, figure by figure, as plain values."""
    found = {}
    for field in COMPARED:
        scenes, figures = compare.figures(runs, field)
        ranks = compare.ranks(figures)
        found[field] = {
            "reference": reference,
            "scenes": scenes,
            "differences": [
                one._asdict() | {"verdict": one.verdict} for one in compare.paired_bootstrap(figures, reference)
            ],
            "ranks": None if ranks is None else ranks._asdict(),
        }
    return found


def write_csv(name: str, runs: Sequence[dict[str, Any]]) -> None:
    """A line a run: method, scene, seed, every figure of merit, seconds."""
    RESULTS.mkdir(exist_ok=True)
    with atomic_write(RESULTS / f"{name}.csv") as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        figures = list(runs[0]["metrics"])
        table.writerow(["method", "scene", "seed", *figures, "seconds"])
        for run in runs:
            values = [run["metrics"][figure] for figure in figures]
            table.writerow([run["method"], run["scene"], run["seed"], *values, run["seconds"]])


def draw(name: str, runs: Sequence[dict[str, Any]], reference: str) -> None:
    """The two pictures, of the average precision: the figure that still tells detectors apart."""
    scenes, figures = compare.figures(runs, "average_precision")
    title = COMPARED["average_precision"]
    differences = compare.paired_bootstrap(figures, reference)
    if differences:
        save_figure(plots.forest(differences, reference, title, len(scenes)), RESULTS / f"{name}-forest.png")
    ranks = compare.ranks(figures)
    if ranks is not None:
        save_figure(plots.critical_difference(ranks, title, len(scenes)), RESULTS / f"{name}-ranks.png")


if __name__ == "__main__":
    main()
