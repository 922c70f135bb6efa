"""Training told to a log: a tracker is a callback, and any other is one function of ``train.Progress``."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from scoread_jax.errors import ScoreADError
from scoread_jax.extras import extra
from scoread_jax.io import write_text
from scoread_jax.pipeline import Callback
from scoread_jax.train import Progress

FILE = "train.jsonl"


def json_lines(folder: str | Path) -> Callback:
    """Add a line to ``train.jsonl`` each time: epoch, epochs, step, loss, seconds, and the time as in ``time.time``.

    The file tells of one training: what an earlier one wrote of the same and later steps, because it began anew or
    goes on from further back, is removed with the first line.

    Args:
        folder: made with the first line where it does not exist.

    Returns:
        A callback, which raises ``ScoreADError`` when the system refuses to write.
    """
    path, begun = Path(folder) / FILE, False

    def write(progress: Progress) -> None:
        nonlocal begun
        told = {name: value for name, value in progress._asdict().items() if name != "state" and value is not None}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not begun:
                write_text(path, "".join(_lines_before(path, progress.step)))
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({**told, "time": time.time()}) + "\n")
        except OSError as error:
            raise ScoreADError(
                f"{path}: expected a place to write the log, found: {error.strerror}; choose another folder"
            ) from error
        begun = True

    return write


def tensorboard(folder: str | Path) -> Callback:
    """Write the losses for TensorBoard, by step.

    Args:
        folder: made where it does not exist.

    Raises:
        MissingExtraError: where tensorboardX is not installed.
    """
    writer = extra("tensorboardX", "tensorboard").SummaryWriter(str(folder))

    def write(progress: Progress) -> None:
        writer.add_scalar("loss", progress.loss, progress.step)
        if progress.held_out is not None:
            writer.add_scalar("held-out loss", progress.held_out, progress.step)
        if progress.epoch == progress.epochs:
            writer.close()

    return write


def every(*callbacks: Callback) -> Callback:
    """One callback that calls several, in order."""

    def call(progress: Progress) -> None:
        for callback in callbacks:
            callback(progress)

    return call


def in_folder(folder: str | Path) -> Callback:
    """``json_lines``, and ``tensorboard`` too where it is installed."""
    found = [json_lines(folder)]
    return every(*found, tensorboard(folder)) if find_spec("tensorboardX") else found[0]


def _lines_before(path: Path, step: int) -> Iterator[str]:
    """Whole lines of a log that tell of earlier steps."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        with contextlib.suppress(ValueError, LookupError, TypeError):  # the last one of a killed run
            if json.loads(line)["step"] < step:
                yield line
