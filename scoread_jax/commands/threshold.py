"""``scoread threshold``: from a map to detections, as a mask and as objects."""

from __future__ import annotations

import argparse
import dataclasses
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scoread_jax.commands import shared
from scoread_jax.commands.options import add_command
from scoread_jax.errors import ScoreADError

if TYPE_CHECKING:
    import numpy as np

    from scoread_jax.georeference import Georeference

_SHOWN = 10


def add(subparsers: Any) -> None:
    """Add the command to the command line."""
    command = add_command(
        subparsers, "threshold", "MAP --percentile P | --count N | --false-alarm-rate R | --score S",
        "detections of a map: a mask, and objects with their place",
    )  # fmt: skip
    command.add_argument("map", type=Path, metavar="MAP", help="anomaly map, in any format that detect writes but .png")
    command.add_argument("--map-var", metavar="NAME", help="variable of the map in its file")
    cut = command.add_argument_group("where to cut, one of").add_mutually_exclusive_group(required=True)
    cut.add_argument("--percentile", type=float, metavar="P", help="at this percentile of the scores")
    cut.add_argument("--count", type=int, metavar="N", help="at the N-th highest pixel")
    cut.add_argument(
        "--false-alarm-rate", type=float, metavar="R",
        help="where the fitted tail of the background leaves this share of it, up to 0.1; on the careful side",
    )  # fmt: skip
    cut.add_argument("--score", type=float, metavar="S", help="at this score")
    command.add_argument("--least-pixels", type=int, default=1, metavar="N", help="drop objects of fewer pixels (1)")
    command.add_argument("-o", "--out", type=Path, metavar="DIR", help="where to write (default: beside the map)")
    command.add_argument(
        "--format", nargs="+", choices=("npy", "npz", "mat", "png", "tif", "img", "nc", "zarr"), default=[],
        metavar="F", help="of the mask: npy, npz, mat, png, tif, img, nc, zarr (default: that of the map)",
    )  # fmt: skip
    command.add_argument(
        "--objects", nargs="+", choices=("csv", "geojson", "gpkg"), default=[], metavar="F",
        help="formats of the objects: csv, geojson, gpkg (default: csv, and geojson where the map has a place)",
    )  # fmt: skip
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Cut a map, write the mask and the objects."""
    import numpy as np

    from scoread_jax import objects
    from scoread_jax.io import read_placed_map, write_json, write_mask, write_objects

    if options.least_pixels < 1:
        raise ScoreADError(f"--least-pixels must be 1 or more, found {options.least_pixels}")
    anomaly_map, georeference = read_placed_map(options.map, options.map_var)
    folder = shared.writable(options.out or options.map.parent)
    cut = _cut(options, anomaly_map)
    found, numbers = objects.find(anomaly_map, cut, georeference, options.least_pixels)
    folder.mkdir(parents=True, exist_ok=True)
    masks = [f"detections.{name}" for name in options.format or [_usual_format(options.map, georeference)]]
    tables = [f"objects.{name}" for name in options.objects or _usual_tables(georeference)]
    tags = {"map": str(options.map), "threshold": repr(cut), "rule": _rule(options)}
    for name in tables:
        write_objects(folder / name, (found, numbers), georeference, tags)
    for name in masks:
        write_mask(folder / name, numbers > 0, ~np.isnan(anomaly_map), georeference, tags)
    record = {
        "threshold": cut,
        "rule": tags["rule"],
        "detected_pixels": int(np.count_nonzero(numbers)),
        "scored_pixels": int(np.count_nonzero(~np.isnan(anomaly_map))),
        "objects": [dataclasses.asdict(each) for each in found],
        "files": [str(folder / name) for name in (*masks, *tables, "detections.json")],
    }
    write_json(folder / "detections.json", record)
    shared.result(options, record, _summary(record))


def _cut(options: argparse.Namespace, anomaly_map: np.ndarray) -> float:
    from scoread_jax import threshold

    if options.percentile is not None:
        return threshold.by_percentile(anomaly_map, options.percentile)
    if options.count is not None:
        return threshold.by_count(anomaly_map, options.count)
    if options.false_alarm_rate is not None:
        return threshold.by_false_alarm_rate(anomaly_map, options.false_alarm_rate)
    return options.score


def _usual_format(path: Path, georeference: Georeference | None) -> str:
    """That of the map, where it can be written."""
    from scoread_jax.io import WRITERS

    suffix = path.suffix.lower()
    return suffix.removeprefix(".") if suffix in WRITERS else "npy" if georeference is None else "tif"


def _usual_tables(georeference: Georeference | None) -> list[str]:
    return ["csv", "geojson"] if georeference is not None and find_spec("rasterio") else ["csv"]


def _rule(options: argparse.Namespace) -> str:
    rules = ("percentile", "count", "false_alarm_rate", "score")
    name = next(name for name in rules if getattr(options, name) is not None)
    return f"{name.replace('_', ' ')} {getattr(options, name):g}"


def _summary(record: dict[str, Any]) -> str:
    found = record["objects"]
    share = record["detected_pixels"] / max(1, record["scored_pixels"])
    lines = [
        f"score >= {record['threshold']:.6g} ({record['rule']}): {record['detected_pixels']} of "
        f"{record['scored_pixels']} pixels ({share:.2%}) in {len(found)} objects"
    ]
    if found:
        placed = found[0]["x"] is not None
        lines.append("object       peak  pixels      row   column" + ("   x, y" if placed else ""))
        for each in found[:_SHOWN]:
            size = f"{each['number']:>6} {each['peak']:>10.4g} {each['pixels']:>7}"
            place = f"   {each['x']:.10g}, {each['y']:.10g}" if placed else ""
            lines.append(f"{size} {each['row']:>8.1f} {each['col']:>8.1f}{place}")
    if len(found) > _SHOWN:
        lines.append(f"   and {len(found) - _SHOWN} more")
    return "\n".join([*lines, ", ".join(record["files"])])
