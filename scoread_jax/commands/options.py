"""Options that several commands share: what they are called, and what they become."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, get_args

from scoread_jax import config as configuration

# Options that have a short name too.
_SHORT = {"detect.estimator": ("estimator",)}


def add_command(subparsers: Any, name: str, wanted: str, summary: str) -> argparse.ArgumentParser:
    """Add a command that says what it wants, with the options that every command has."""
    description = summary[0].upper() + summary[1:] + "."
    usage = f"scoread {name} {wanted} [options]"
    command = subparsers.add_parser(name, help=summary, description=description, usage=usage)
    command.add_argument("--json", action="store_true", help="print the result as JSON")
    command.add_argument("--quiet", action="store_true", help="print nothing but the result")
    command.set_defaults(together=False)
    return command


def add_scene(command: argparse.ArgumentParser, required: bool = True) -> None:
    """Add SCENE, and how its cube, truth and mask are found."""
    command.add_argument(
        "scene",
        metavar="SCENE",
        nargs=None if required else "?",
        help="file (ENVI, GeoTIFF, .nc, .mat, ...) or public name",
    )
    command.add_argument("--truth", type=Path, metavar="FILE", help="ground truth in a file of its own")
    command.add_argument("--mask", type=Path, metavar="FILE", help="mask, nonzero where valid, or polygons")
    add_variables(command)
    add_bands(command)


def add_variables(command: argparse.ArgumentParser) -> None:
    """Add how cube, truth and mask are called in their files."""
    command.add_argument("--cube-var", metavar="NAME", help="variable of the cube")
    command.add_argument("--truth-var", metavar="NAME", help="variable of the ground truth")
    command.add_argument("--mask-var", metavar="NAME", help="variable of the mask")


def add_bands(command: argparse.ArgumentParser) -> None:
    """Add which bands are wanted."""
    group = command.add_argument_group("bands", "constant bands and those that the file calls bad are left out anyway")
    group.add_argument("--bands", metavar="RANGES", default="", help="only these, from 0: 0-49,55")
    group.add_argument("--drop-wavelengths", metavar="RANGES", default="", help="not these, in nm: 1340-1450,1790-1960")
    group.add_argument("--auto-bad-bands", action="store_true", help="not those that are mostly noise")


def add_output(command: argparse.ArgumentParser) -> None:
    """Add where the map goes, and in which formats."""
    command.add_argument(
        "-o",
        "--out",
        type=Path,
        metavar="PATH",
        help="a directory (default: NAME-scoread), or one file for the map alone",
    )
    command.add_argument(
        "--format", nargs="+", choices=("npy", "npz", "mat", "tif", "img", "nc", "zarr"), default=[], metavar="F",
        help="of the map: npy, npz, mat, tif, img, nc, zarr (default: npy, mat, and tif where the scene has a place)",
    )  # fmt: skip


def add_devices(command: argparse.ArgumentParser) -> None:
    """Add the choice of devices."""
    group = command.add_argument_group("devices", "what they are changes the time, not the map")
    group.add_argument("--device", choices=("cpu", "gpu", "tpu"), help="kind of device (default: the best there is)")
    group.add_argument("--devices", type=int, metavar="N", help="how many of this machine's devices (default: all)")
    group.add_argument(
        "--strategy", choices=("jit", "shard_map", "pmap"), default="jit", help="how JAX spreads pixels over them (jit)"
    )


def add_ranks(command: argparse.ArgumentParser, together: bool) -> None:
    """Add which of several processes this is, and where those that work ``together`` meet."""
    group = command.add_argument_group("several machines")
    others = "as SLURM, a TPU pod or Open MPI started them" if together else "the other tasks of srun"
    group.add_argument("--distributed", action="store_true", help=f"share the work with other processes: {others}")
    if together:
        group.add_argument("--coordinator", metavar="HOST:PORT", help="or: where process 0 is found")
    group.add_argument("--processes", type=int, metavar="N", help="without SLURM: how many processes there are")
    group.add_argument("--process-id", type=int, metavar="I", help="and which of them this is, from 0")
    command.set_defaults(together=together)


def add_tracking(command: argparse.ArgumentParser) -> None:
    """Add where the course of training is written."""
    command.add_argument(
        "--track",
        type=Path,
        metavar="DIR",
        help="write train.jsonl there too, and for TensorBoard where that is installed",
    )


def add_memory(command: argparse.ArgumentParser) -> None:
    """Add how much memory a run may hold, and how a scene is cut for it."""
    group = command.add_argument_group("large scenes", "read and scored by blocks of rows; the map is the same")
    group.add_argument("--max-memory", metavar="SIZE", help="most memory for a process to hold: 2GiB")
    group.add_argument("--block-rows", type=int, metavar="N", help="rows at a time (default: what the memory allows)")


def add_keeping(command: argparse.ArgumentParser) -> None:
    """Add where a run is kept as it goes, and how often."""
    group = command.add_argument_group("stopping", "a signal stops a run, which is kept; the exit code is 75 then")
    group.add_argument(
        "--resume", type=Path, metavar="DIR",
        help="go on with the run that is kept in DIR, or begin one there (default: begin anew, kept in OUT.run)",
    )  # fmt: skip
    group.add_argument(
        "--save-every", type=float, default=60.0, metavar="SECONDS", help="how much work may be lost at most (60)"
    )


def add_config(command: argparse.ArgumentParser, default: str = "default") -> None:
    """Add ``--config`` and an option for every key of the configuration."""
    presets = ", ".join(configuration.presets())
    command.add_argument(
        "--config", default=default, metavar="NAME", help=f"TOML file, or one of {presets} ({default})"
    )
    add_overrides(command)


def add_overrides(command: argparse.ArgumentParser, only: tuple[str, ...] = ("",)) -> None:
    """Add an option for every key of the configuration that starts with one of ``only``."""
    group = command.add_argument_group("configuration", "each replaces one value of the preset")
    for key, (kind, _, text) in configuration.keys().items():
        if not key.startswith(only):
            continue
        several = get_args(kind)
        entry = several[0] if several else kind
        group.add_argument(
            *(f"--{name}" for name in (key, *_SHORT.get(key, ()))),
            dest=f"config:{key}",
            type=_truth if entry is bool else entry,
            nargs="+" if several else None,
            metavar={str: "NAME", bool: "true|false"}.get(entry, "X"),
            help=text.replace("%", "%%"),
        )


def overrides(options: argparse.Namespace) -> dict[str, Any]:
    """Collect the configuration values that were given, by dotted key."""
    given = {name.removeprefix("config:"): value for name, value in vars(options).items() if name.startswith("config:")}
    return {key: value for key, value in given.items() if value is not None}


def _truth(word: str) -> bool:
    if word not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"expected true or false, found {word!r}")
    return word == "true"
