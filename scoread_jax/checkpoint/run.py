"""A run that goes on after any end: when its state is kept, and from which state it goes on."""

from __future__ import annotations

import contextlib
import operator
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import jax
import numpy as np

from scoread_jax import config as configuration
from scoread_jax import interrupt, parallel, tracking
from scoread_jax.blocks import Keep
from scoread_jax.checkpoint import scratch, steps
from scoread_jax.checkpoint.steps import Kept, KnownScene
from scoread_jax.config import Config
from scoread_jax.errors import CheckpointError, ConfigError, TrainingError
from scoread_jax.keep import Keeper
from scoread_jax.scene import Scene, digest, global_min_max
from scoread_jax.train import Progress
from scoread_jax.views import View

# What may be another when a training goes on: how long and how fast it trains, and what only scores.
_MAY_CHANGE = (
    "train.epochs",
    "train.steps",
    "train.learning_rate",
    "train.clip_norm",
    "train.devices",
    "detect.",
    "fusion.",
)


class Run(Keeper):
    """Keeps a run in a folder as it goes, and finds where it stopped.

    Where several processes run together they stop together; the first one keeps the training, and each its own blocks.
    How many there are may be another when the run goes on.

    Attributes:
        folder: made when the first state is kept.
        every: seconds of work that may be lost, beside one compiled call or one block.
        fresh: whether the training begins anew, whatever lies there.
        say: told what the user should know.
        kept: the newest step of the training that is kept, -1 for none.
        stop: heard all the while, in place of one for each part of the work.

    Raises:
        CheckpointError: for a folder that holds something else than a run.
    """

    def __init__(
        self,
        folder: str | Path,
        every: float = 60.0,
        fresh: bool = False,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.folder, self.every, self.fresh, self.say, self.kept = Path(folder), every, fresh, say, -1
        self.stop: interrupt.Stop | None = None
        strangers = sorted(_names(self.folder) - {steps.FOLDER, scratch.FOLDER, tracking.FILE})
        if strangers:
            raise CheckpointError(
                f"{folder}: expected a new directory, or one where a run was kept, found {strangers[0]} in it; "
                "choose another place"
            )
        self._goes_on = f"the same command with --resume {folder} goes on from there"
        self._scenes: dict[Scene, str] = {}
        self._scratch: list[Path] = []
        self._started: tuple[Scene, Config] | None = None

    @property
    def log_folder(self) -> Path | None:
        """Where the course of training is written while it goes; by the first of several processes."""
        return self.folder if parallel.process_index() == 0 else None

    @property
    def stopped(self) -> bool:
        """Whether a run lies there that did not come to its end."""
        return not _names(self.folder).isdisjoint({steps.FOLDER, scratch.FOLDER})

    def resume(self, image: Scene, config: Config) -> Kept | None:
        """Find where the training of this run stopped.

        Returns:
            The newest step that is whole; None where none was ever kept.

        Raises:
            CheckpointError: where there are steps, but none that is whole.
            ConfigError: for another scene or configuration than that of the run.
        """
        self._started = image, config
        found, skipped = (None, []) if self.fresh else parallel.from_first(lambda: steps.latest_valid(self.folder))
        if found is None:
            for text in skipped:
                self.say(f"{text}; the training begins anew")
            return None
        if found.scene.sha256 != self._digest(image):
            raise ConfigError(
                f"{self.folder}: expected the scene that this run was started on ({found.scene.name}), "
                f"found other data ({image.name}); give that scene, or another directory"
            )
        for text in (*skipped, *self._changes(found.config, config), f"going on from step {found.step}"):
            self.say(text)
        self.kept = found.step
        return found

    @contextlib.contextmanager
    def training(
        self, key: jax.Array, chosen: np.ndarray, view: View | None, callback: Callable[[Progress], None] | None
    ) -> Iterator[Callable[[Progress], None]]:
        """While a training runs: a callback that keeps its state now and then, and at a signal.

        A step is written beside the training, which waits for the copy from the device alone. One that cannot be
        written is told, and the training goes on.

        Raises:
            Interrupted: by a signal, once the state is kept.
            CheckpointError: by a signal, when it cannot be kept.
            TrainingError: that of the training, and what is kept.
        """
        assert self._started is not None, "resume comes first"
        image, config = self._started
        scene, bands = KnownScene(image.name, self._digest(image)), _bands(image)
        writer, pending, before = steps.Writer(self.folder, after=self.kept), None, time.monotonic()
        group = parallel.group()

        def keep(progress: Progress) -> None:
            nonlocal pending, before
            if callback is not None:
                callback(progress)
            stopping = group.any(bool(stop.requested))
            if pending is not None and (pending.done() or stopping):
                pending = self._settle(pending)
            due = pending is None and time.monotonic() - before >= self.every
            if group.number == 0 and (stopping or due):
                before = time.monotonic()
                state = {path: np.array(leaf) for path, leaf in steps.leaves(progress.state).items()}
                pending = writer.start(Kept(progress.step, key, chosen, view, state, config, scene, bands))
            if stopping:
                self.kept = parallel.from_first(lambda: -1 if pending is None else pending.result())
                raise interrupt.Interrupted(f"stopped at step {self.kept}; {self._goes_on}")

        with self._stopping() as stop, contextlib.closing(writer):
            try:
                yield keep
            except TrainingError as error:
                if pending is not None:
                    self._settle(pending)
                if self.kept < 0:
                    raise
                raise TrainingError(f"{error}; with --resume {self.folder} it goes on from step {self.kept}") from error
            if pending is not None:
                self._settle(pending)

    @contextlib.contextmanager
    def scoring(
        self, name: str, image: Scene, decides: Any, form: Callable[[list[np.ndarray]], Any]
    ) -> Iterator[Keep | None]:
        """While a scene is scored by blocks: what keeps them now and then, and at a signal."""
        folder = self.folder / scratch.FOLDER / f"{name}-{scratch.digest((self._digest(image), decides))}"
        self._scratch.append(folder)
        with self._stopping() as stop:
            yield scratch.Scratch(folder, form, self.every, stop, self._goes_on, self.say)

    def finished(self, keep_training: bool) -> None:
        """Remove what a finished run needs no more: its blocks, and its steps unless they are wanted."""
        for folder in self._scratch:
            shutil.rmtree(folder, ignore_errors=True)
        if self.kept >= 0 and not keep_training:
            shutil.rmtree(self.folder / steps.FOLDER, ignore_errors=True)
        if not keep_training:
            (self.folder / tracking.FILE).unlink(missing_ok=True)
        for folder in (self.folder / scratch.FOLDER, self.folder):
            with contextlib.suppress(OSError):  # never made, or not empty
                folder.rmdir()

    def _stopping(self) -> contextlib.AbstractContextManager[interrupt.Stop]:
        return interrupt.deferred() if self.stop is None else contextlib.nullcontext(self.stop)

    def _settle(self, pending: Future[int]) -> None:
        """Wait for a step to be written, and tell where it could not."""
        try:
            self.kept = pending.result()
        except CheckpointError as error:
            self.say(f"{error}; the training goes on without")

    def _changes(self, before: Config, now: Config) -> list[str]:
        """Say which values of the configuration are others than when the run was started; refuse those that matter."""
        found = []
        for name in sorted(configuration.keys()):
            old, new = map(operator.attrgetter(name), (before, now))
            if old == new:
                continue
            if not name.startswith(_MAY_CHANGE):
                raise ConfigError(
                    f"{self.folder}: expected the configuration that this run was started with, {name} = {old!r}, "
                    f"found {new!r}; give that, or another directory"
                )
            found.append(f"going on with {name} = {new!r} instead of {old!r}")
        return found

    def _digest(self, image: Scene) -> str:
        """Digest of the scene's data, computed once."""
        if image not in self._scenes:
            self._scenes[image] = parallel.from_first(lambda: digest(image))
        return self._scenes[image]


def _bands(image: Scene) -> dict[str, Any]:
    scaling = global_min_max(image)
    good = np.flatnonzero(image.good_bands).tolist()
    return {"good": good, "offset": scaling.offset, "scale": scaling.scale}


def _names(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))
    except FileNotFoundError:
        return set()
    except OSError as error:
        raise CheckpointError(
            f"{folder}: expected a directory for this run, found: {error.strerror}; choose another place"
        ) from error
