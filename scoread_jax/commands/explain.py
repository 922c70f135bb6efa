"""``scoread explain``: why pixels scored high, band by band."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from scoread_jax import config as configuration
from scoread_jax.commands import shared
from scoread_jax.commands.options import add_command, add_config, add_devices, add_scene, overrides
from scoread_jax.errors import ScoreADError


def add(subparsers: Any) -> None:
    """Add the command to the command line."""
    command = add_command(
        subparsers, "explain", "SCENE MAP --pixel R,C ... | --top N", "which bands pull at a pixel, and towards what"
    )
    add_scene(command)
    command.add_argument("map", type=Path, metavar="MAP", help="anomaly map of the scene")
    command.add_argument("--map-var", metavar="NAME", help="variable of the map in its file")
    pixels = command.add_argument_group("pixels, one of").add_mutually_exclusive_group(required=True)
    pixels.add_argument("--pixel", type=_pixel, nargs="+", metavar="R,C", help="row and column, counted from 0")
    pixels.add_argument("--top", type=int, metavar="N", help="the N highest peaks")
    command.add_argument(
        "-d", "--detector", type=Path, metavar="DIR",
        help="detector that made the map: its network's pull is drawn too (default: the members without a network)",
    )  # fmt: skip
    command.add_argument("-o", "--out", type=Path, metavar="DIR", help="where to write (default: beside the map)")
    add_devices(command)
    add_config(command)
    command.set_defaults(run=run, config=None)


def run(options: argparse.Namespace) -> None:
    """Explain pixels of a map: a figure of each, and all in JSON."""
    import numpy as np

    from scoread_jax import checkpoint, explain, report
    from scoread_jax.io import read_map, write_json

    count: int | None = options.top
    if count is not None and count < 1:
        raise ScoreADError(f"--top must be 1 or more, found {count}")
    shared.prepare_devices(options)
    if options.detector is not None and (options.config is not None or overrides(options)):
        raise ScoreADError(
            f"--detector {options.detector}: expected its own configuration, found another one beside it; leave it out"
        )
    detector = None if options.detector is None else checkpoint.load(options.detector)
    recipe = configuration.replace(configuration.load(options.config or "default"), overrides(options))
    recipe = recipe if detector is None else detector.config
    if detector is None and tuple(recipe.fusion.members) == ("network",):
        raise ScoreADError(
            f"--config {options.config}: expected members that need no network, found none; "
            "give the detector that made the map with -d"
        )
    image, anomaly_map = shared.scene(options), read_map(options.map, options.map_var)
    folder = shared.writable(options.out or options.map.parent)
    places = np.array(options.pixel) if count is None else report.find_peaks(anomaly_map, count)
    around, found = explain.explain(image, anomaly_map, places, recipe, detector)
    folder.mkdir(parents=True, exist_ok=True)
    files = [f"explain-{each.row}-{each.col}.png" for each in found]
    for each, name in zip(found, files, strict=True):
        report.save_figure(report.explanation_figure(image, around, each), folder / name)
    wavelengths = None if image.wavelengths is None else image.wavelengths[around.bands].tolist()
    record = {
        "bands": around.bands.tolist(),
        "wavelengths": wavelengths,
        "background_mean": around.mean.tolist(),
        "background_deviation": around.deviation.tolist(),
        "pixels": [each.as_dict() for each in found],
        "files": [str(folder / name) for name in (*files, "explanation.json")],
    }
    write_json(folder / "explanation.json", record)
    shared.result(options, record, _summary(record, image.wavelengths))


def _pixel(word: str) -> tuple[int, int]:
    try:
        row, col = (int(part) for part in word.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected ROW,COLUMN such as 44,68, found {word!r}") from None
    return row, col


def _summary(record: dict[str, Any], wavelengths: Any) -> str:
    lines = []
    for each in record["pixels"]:
        near = f"nearest background at row {each['nearest_row']}, column {each['nearest_col']}"
        lines.append(f"row {each['row']}, column {each['col']}: score {each['score']:.4g}, {near}")
        for name, bands in each["strongest"].items():
            named = [str(band) if wavelengths is None else f"{wavelengths[band]:.0f} nm" for band in bands]
            word = "bands " if wavelengths is None else ""
            lines.append(f"  {name} pulls most at {word}{', '.join(named)}")
    return "\n".join([*lines, ", ".join(record["files"])])
