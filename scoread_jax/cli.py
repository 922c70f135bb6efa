"""The command line: ``scoread detect SCENE`` and its parts.

Errors that the user can mend are one sentence on stderr and exit code 2.
"""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from scoread_jax import commands
from scoread_jax._version import __version__
from scoread_jax.errors import ScoreADError
from scoread_jax.interrupt import KEPT, Interrupted, terminated_like_interrupted
from scoread_jax.process import prepare, seldom_collected

_EXAMPLES = """examples:
  scoread detect scene.mat                    train on the scene, write its anomaly map and figures
  scoread detect synthetic --config demo      the same on a made scene, in under a minute
  scoread train scene.mat -o detector         keep the trained model ...
  scoread score other.mat -d detector         ... and score with it
  scoread batch scenes.txt -o maps            many scenes; a second run does what is left
  scoread evaluate map.npy truth.mat          figures of merit of any map
  scoread threshold map.tif --count 100       detections, as a mask and as objects on the map
  scoread explain scene.mat map.npy --top 3   which bands pull at the highest peaks
  scoread info scene.mat                      what a file holds, as it would be read
  scoread doctor                              devices, versions, and what is missing

A SCENE is an ENVI file (.hdr or its data), a GeoTIFF or whatever GDAL opens, EMIT, PRISMA, PACE, NetCDF-4, Zarr,
.mat, .npy or .npz, or the name of a public one (scoread info --list).
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: without the program's name; ``sys.argv[1:]`` where None.

    Returns:
        The exit code: 0 done, 1 done but for some scenes of a batch or with something to mend, 2 an error that
        the user can mend, 75 stopped by a signal and kept, 130 interrupted (SIGINT) or 143 terminated (SIGTERM) with
        nothing kept.
    """
    prepare()
    return _guarded(lambda: _run(parse(arguments)))


def _run(options: argparse.Namespace) -> int:
    if options.together and options.distributed:
        from scoread_jax import parallel

        return parallel.supervise(_run_supervised, options)
    return options.run(options) or 0


def _run_supervised(options: argparse.Namespace) -> int:
    from scoread_jax import parallel

    def run() -> int:
        with parallel.with_others():
            return options.run(options) or 0

    return _guarded(run)


def _guarded(run: Callable[[], int]) -> int:
    """An exit code, and one sentence for what is wrong."""
    try:
        with terminated_like_interrupted(), seldom_collected():
            return run()
    except ScoreADError as error:
        print(f"scoread: error: {error}", file=sys.stderr)
        return 2
    except Interrupted as reason:
        print(f"scoread: {reason}", file=sys.stderr)
        return KEPT
    except KeyboardInterrupt:
        print("scoread: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line.

    Args:
        arguments: without the program's name; those of the process where None.

    Returns:
        Every option by name, and the name of the command as ``command``.

    Raises:
        ScoreADError: for arguments that are not valid.
    """
    options, unknown = parser().parse_known_args(arguments)
    if unknown:
        known = [name.removeprefix("config:") for name in vars(options) if name.startswith("config:")]
        known += [name.replace("_", "-") for name in vars(options)]
        near = difflib.get_close_matches(unknown[0].lstrip("-").partition("=")[0], known, n=1)
        hint = f"did you mean --{near[0]}?" if near else "see scoread COMMAND --help"
        raise ScoreADError(f"unknown argument {unknown[0]!r}; {hint}")
    return options


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, without the list of all options."""

    def error(self, message: str) -> NoReturn:
        raise ScoreADError(f"{message}; see {self.prog} --help")


def parser() -> argparse.ArgumentParser:
    """Make the parser of the whole command line, which shtab makes completions of."""
    whole = _Parser(
        prog="scoread",
        description="Find the pixels that do not belong in a hyperspectral image, without labels.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole.add_argument("--version", action="version", version=f"scoread {__version__}")
    subparsers = whole.add_subparsers(title="commands", dest="command", required=True, metavar="COMMAND")
    for command in commands.ALL:
        command.add(subparsers)
    return whole
