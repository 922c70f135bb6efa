"""What is told of a run as it goes, so that it may be kept. ``checkpoint.Run`` keeps it; here is what does not."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jax
    import numpy as np

    from scoread_jax.blocks import Keep
    from scoread_jax.checkpoint import Kept
    from scoread_jax.config import Config
    from scoread_jax.scene import Scene
    from scoread_jax.train import Progress
    from scoread_jax.views import View


class Keeper:
    """Keeps nothing, and never has anything to go on from."""

    @property
    def log_folder(self) -> Path | None:
        """Where the course of training is written while it goes; None for nowhere."""
        return None

    def resume(self, image: Scene, config: Config) -> Kept | None:
        """Find where the training of this run stopped; None where it has yet to begin."""
        return None

    def training(
        self, key: jax.Array, chosen: np.ndarray, view: View | None, callback: Callable[[Progress], None] | None
    ) -> contextlib.AbstractContextManager[Callable[[Progress], None] | None]:
        """While a training runs: the callback that ``train.fit`` is to call.

        Args:
            key: base key of the training.
            chosen: which pixels of the scene train, int32 [chosen].
            view: the coordinates in which the network sees the spectra.
            callback: the user's.
        """
        return contextlib.nullcontext(callback)

    def scoring(
        self, name: str, image: Scene, decides: Any, form: Callable[[list[np.ndarray]], Any]
    ) -> contextlib.AbstractContextManager[Keep | None]:
        """While a scene is scored by blocks: what ``map_blocks`` is to ask and to tell.

        Args:
            name: of what is computed.
            image: the scene.
            decides: all else that decides the result, see ``checkpoint.scratch.digest``.
            form: makes a block's result of its arrays.
        """
        return contextlib.nullcontext(None)


NOTHING_KEPT = Keeper()
