"""The arguments of the command line: what may be asked, and how it is asked."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, get_args

from scoread_jax import config as configuration
from scoread_jax._version import __version__
from scoread_jax.errors import ScoreADError

_EXAMPLES = """examples:
  scoread detect scene.mat                    train on the scene, write its anomaly map and figures
  scoread detect synthetic --config demo      the same on a made scene, in under a minute
  scoread train scene.mat -o detector         keep the trained model ...
  scoread score other.mat -d detector         ... and score with it
  scoread evaluate map.npy truth.mat          figures of merit of any map
  scoread info scene.mat                      what a file holds, as it would be read

A SCENE is a .mat, .npy or .npz file, or the name of a public one (scoread info --list).
"""


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line.

    Args:
        arguments: without the program's name; those of the process where None.

    Returns:
        Every option by name, and the name of the command as ``command``.

    Raises:
        ScoreADError: for arguments that are not valid.
    """
    options, unknown = _parser().parse_known_args(arguments)
    if unknown:
        known = [name.removeprefix("config:") for name in vars(options) if name.startswith("config:")]
        known += [name.replace("_", "-") for name in vars(options)]
        near = difflib.get_close_matches(unknown[0].lstrip("-").partition("=")[0], known, n=1)
        hint = f"did you mean --{near[0]}?" if near else "see scoread COMMAND --help"
        raise ScoreADError(f"unknown argument {unknown[0]!r}; {hint}")
    return options


def overrides(options: argparse.Namespace) -> dict[str, Any]:
    """Collect the configuration values that were given, by dotted key."""
    given = {name.removeprefix("config:"): value for name, value in vars(options).items() if name.startswith("config:")}
    return {key: value for key, value in given.items() if value is not None}


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, without the list of all options."""

    def error(self, message: str) -> NoReturn:
        raise ScoreADError(f"{message}; see {self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="scoread",
        description="Find the pixels that do not belong in a hyperspectral image, without labels.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"scoread {__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", required=True, metavar="COMMAND")

    command = _command(commands, "detect", "SCENE", "train on a scene and score it: map, figures, metrics")
    _add_scene(command)
    command.add_argument("-o", "--out", type=Path, metavar="DIR", help="where to write (default: NAME-scoread)")
    _add_config(command)
    own = command.add_argument_group("your own functions", "each FILE.py:NAME; see the README")
    own.add_argument("--sde", metavar="PLACE", help="a forward process, in place of sde.name")
    own.add_argument("--network", metavar="PLACE", help="(bands, conditional) -> Network, in place of network.name")
    own.add_argument("--statistic", metavar="PLACE", help="Perturbed -> score, in place of detect.statistic")

    command = _command(commands, "train", "SCENE -o DIR", "train on a scene and keep the detector")
    _add_scene(command)
    command.add_argument("-o", "--out", type=Path, metavar="DIR", required=True, help="directory of the detector")
    _add_config(command)

    command = _command(commands, "score", "SCENE -d DIR", "score a scene with a trained detector")
    _add_scene(command)
    command.add_argument("-d", "--detector", type=Path, metavar="DIR", required=True, help="directory of the detector")
    command.add_argument("-o", "--out", type=Path, metavar="DIR", help="where to write (default: NAME-scoread)")
    _add_overrides(command, only=("detect.", "seed"))

    command = _command(commands, "evaluate", "MAP TRUTH", "figures of merit of a map against ground truth")
    command.add_argument("map", type=Path, metavar="MAP", help="anomaly map: .npy, .npz or .mat")
    command.add_argument("truth", type=Path, metavar="TRUTH", help="ground truth, nonzero = anomalous")
    command.add_argument("--map-var", metavar="NAME", help="variable of the map in its file")
    command.add_argument("--truth-var", metavar="NAME", help="variable of the truth in its file")

    command = _command(commands, "info", "SCENE", "what a scene file holds, as it would be read")
    _add_scene(command, required=False)
    command.add_argument("--list", action="store_true", help="list the public scenes")

    command = _command(commands, "import-weights", "FILE.pth -o DIR", "make a detector of the authors' .pth file")
    command.add_argument(
        "file", type=Path, metavar="FILE.pth", help="state dict; give the recipe of its training with --config"
    )
    command.add_argument("-o", "--out", type=Path, metavar="DIR", required=True, help="directory of the detector")
    _add_config(command, default="scoread-hydice")
    return parser


def _command(commands: Any, name: str, wanted: str, summary: str) -> argparse.ArgumentParser:
    description = summary[0].upper() + summary[1:] + "."
    usage = f"scoread {name} {wanted} [options]"
    command = commands.add_parser(name, help=summary, description=description, usage=usage)
    command.add_argument("--json", action="store_true", help="print the result as JSON")
    command.add_argument("--quiet", action="store_true", help="print nothing but the result")
    return command


def _add_scene(command: argparse.ArgumentParser, required: bool = True) -> None:
    command.add_argument(
        "scene", metavar="SCENE", nargs=None if required else "?", help=".mat, .npy or .npz file, or a public name"
    )
    command.add_argument("--truth", type=Path, metavar="FILE", help="ground truth in a file of its own")
    command.add_argument("--mask", type=Path, metavar="FILE", help="mask, nonzero where a pixel is valid")
    command.add_argument("--cube-var", metavar="NAME", help="variable of the cube")
    command.add_argument("--truth-var", metavar="NAME", help="variable of the ground truth")
    command.add_argument("--mask-var", metavar="NAME", help="variable of the mask")


def _add_config(command: argparse.ArgumentParser, default: str = "default") -> None:
    presets = ", ".join(configuration.presets())
    command.add_argument(
        "--config", default=default, metavar="NAME", help=f"TOML file, or one of {presets} ({default})"
    )
    _add_overrides(command)


def _truth(word: str) -> bool:
    if word not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"expected true or false, found {word!r}")
    return word == "true"


def _add_overrides(command: argparse.ArgumentParser, only: tuple[str, ...] = ("",)) -> None:
    group = command.add_argument_group("configuration", "each replaces one value of the preset")
    for key, (kind, _, text) in configuration.keys().items():
        if not key.startswith(only):
            continue
        several = get_args(kind)
        entry = several[0] if several else kind
        group.add_argument(
            f"--{key}",
            dest=f"config:{key}",
            type=_truth if entry is bool else entry,
            nargs="+" if several else None,
            metavar={str: "NAME", bool: "true|false"}.get(entry, "X"),
            help=text.replace("%", "%%"),
        )
