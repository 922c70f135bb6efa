"""Steps of a training on disk: ``DIR/training/STEP/``, by an Orbax ``CheckpointManager``, sealed when complete."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scoread_jax import config as configuration
from scoread_jax._version import __version__
from scoread_jax.checkpoint import arrays, seal
from scoread_jax.config import Config
from scoread_jax.errors import CheckpointError
from scoread_jax.train import TrainState
from scoread_jax.views import View

FORMAT = 3
_READABLE = {1: arrays.restored, 2: arrays.restored_packed, FORMAT: arrays.unpacked}
STEPS_KEPT = 3
FOLDER = "training"
_SEAL = "step.json"
_ARRAYS = "default"  # as Orbax calls the only item of a step


class KnownScene(NamedTuple):
    """A scene by its name and the digest of its data."""

    name: str
    sha256: str


class Kept(NamedTuple):
    """What a step holds.

    Attributes:
        step: steps taken.
        key: base key of the training.
        chosen: which pixels train, int32 [chosen].
        view: the coordinates in which the network sees the spectra, or None.
        state: leaves of the ``TrainState`` by path.
        config: the configuration that the run was started with.
        scene: that it trains on.
        bands: its good bands and their scaling, for other programs to read.
    """

    step: int
    key: jax.Array
    chosen: np.ndarray
    view: View | None
    state: Mapping[str, np.ndarray]
    config: Config
    scene: KnownScene
    bands: dict[str, Any]

    def restore(self, template: TrainState) -> TrainState:
        """The state, in the form of another one of the same recipe.

        Raises:
            CheckpointError: where the two do not fit.
        """
        wanted = leaves(template)
        ours, theirs = ({path: np.shape(leaf) for path, leaf in each.items()} for each in (self.state, wanted))
        if ours != theirs:
            path = min(path for path, _ in ours.items() ^ theirs.items())
            raise CheckpointError(
                f"step {self.step}: expected {path} of shape {theirs.get(path)}, found {ours.get(path)}; "
                "give the network and the configuration that the run was started with"
            )
        return jax.tree.unflatten(jax.tree.structure(template), [jnp.asarray(self.state[path]) for path in wanted])


def leaves(state: TrainState) -> dict[str, Any]:
    """The arrays of a state by path, such as ``params.Dense_0.kernel``."""
    flat, _ = jax.tree.flatten_with_path(state)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in flat}


def latest_valid(folder: str | Path) -> tuple[Kept | None, list[str]]:
    """The newest step that is whole.

    Args:
        folder: of a run.

    Returns:
        The step, None where none was ever complete; and a sentence for each newer one that was skipped.

    Raises:
        CheckpointError: where there are complete steps, but none that is whole.
    """
    skipped, complete = [], False
    for step in sorted(_numbers(Path(folder)), reverse=True):
        try:
            return _read(Path(folder) / FOLDER / str(step), step), skipped
        except CheckpointError as error:
            skipped.append(f"step {step} is skipped: {error}")
            complete |= (Path(folder) / FOLDER / str(step) / _SEAL).exists()
    if complete:
        raise CheckpointError(
            f"{folder}: expected a training step that is whole, found none ({'; '.join(skipped)}); "
            "restore a copy, or remove the directory to start anew"
        )
    return None, skipped  # those of a process that was killed while it wrote its first step


class Writer:
    """Writes steps in a thread of its own.

    Args:
        folder: of the run; made when the first step is written.
        after: steps that are there and newer than this one are damaged or given up, and removed then.
    """

    def __init__(self, folder: Path, after: int) -> None:
        self._folder, self._after = folder / FOLDER, after
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._manager: Any = None

    def start(self, kept: Kept) -> Future[int]:
        """Begin to write a step; the future is its number, or what went wrong, a ``CheckpointError``."""
        return self._thread.submit(self._write, kept)

    def close(self) -> None:
        """Wait for the last step."""
        self._thread.shutdown()
        if self._manager is not None:
            self._manager.close()

    def _write(self, kept: Kept) -> int:
        from scoread_jax.checkpoint import handler  # imports Orbax

        place = self._folder / str(kept.step)
        if not all(np.isfinite(leaf).all() for leaf in kept.state.values()):
            raise CheckpointError(f"{place}: expected finite parameters, found others; nothing is kept of this step")
        tree = {"key": np.asarray(jax.random.key_data(kept.key)), "chosen": kept.chosen, "state": dict(kept.state)}
        if kept.view is not None:
            tree["view"] = kept.view.arrays()
        try:
            if self._manager is None:
                for step in _numbers(self._folder.parent):
                    if step > self._after:
                        shutil.rmtree(self._folder / str(step))
                self._folder.mkdir(parents=True, exist_ok=True)
                self._manager = handler.manager(self._folder, STEPS_KEPT)
            self._manager.save(kept.step, args=handler.PackedSave(tree))
            record = {
                "format": FORMAT,
                "version": __version__,
                "scene": kept.scene._asdict(),
                "bands": kept.bands,
                "config": configuration.as_table(kept.config),
                "arrays": arrays.describe(tree),
            }
            seal.write(place, _SEAL, record)
        except Exception as error:  # the system's, or whatever Orbax makes of it
            shutil.rmtree(place, ignore_errors=True)
            raise CheckpointError(
                f"{place}: expected to write a training step there, found: {seal.reason(error)}"
            ) from error
        return kept.step


def _numbers(folder: Path) -> list[int]:
    """The steps that lie in a run's folder, whole or not."""
    try:
        names = [path.name for path in (folder / FOLDER).iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [int(name) for name in names if name.isascii() and name.isdigit()]


def _read(place: Path, step: int) -> Kept:
    record = seal.read(place, _SEAL, tuple(_READABLE))
    try:
        config = seal.configuration_of(place / _SEAL, record)
        tree = arrays.read(place / _ARRAYS, record["arrays"], _READABLE[record["format"]])
        view = View(config.view.kind == "root", **tree["view"]) if "view" in tree else None
        key = jax.random.wrap_key_data(jnp.asarray(tree["key"]))
        scene = KnownScene(record["scene"]["name"], record["scene"]["sha256"])
        return Kept(step, key, tree["chosen"], view, tree["state"], config, scene, record["bands"])
    except CheckpointError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise seal.damaged(place / _SEAL, f"it makes no step: {seal.reason(error)}") from error
