"""What a scene's maps are made of: keys, spectra, rings; and the members that need no training, block by block."""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np

from scoread_jax import closed_form, context, members, parallel, scene, suspects
from scoread_jax.blocks import Block, cut, map_blocks
from scoread_jax.config import Config
from scoread_jax.execution import Execution, block_rows
from scoread_jax.scene import Normalisation, Scene


class Keys(NamedTuple):
    """One key for each purpose."""

    init: jax.Array
    train: jax.Array
    score: jax.Array
    references: jax.Array
    sample: jax.Array
    statistics: jax.Array


def keys(config: Config) -> Keys:
    """All randomness of a run, from the seed of its configuration."""
    return _keys(np.uint32(config.seed))


@jax.jit
def _keys(seed: jax.Array) -> Keys:
    return Keys(*jax.random.split(jax.random.key(seed), len(Keys._fields)))


class Spectra(NamedTuple):
    """The normalised spectra of a scene, read when they are wanted."""

    image: Scene
    normalisation: Normalisation
    good_bands: np.ndarray | None

    def of_rows(self, rows: slice) -> np.ndarray:
        """Those of some rows, float32 [pixels, bands]."""
        return scene.spectra(self.image, self.normalisation, self.good_bands, rows)

    def at(self, places: np.ndarray) -> np.ndarray:
        """Those at some places of the list of valid pixels, sorted, float32 [places, bands]."""
        return scene.spectra_at(self.image, self.normalisation, places, self.good_bands)

    def shared_at(self, places: np.ndarray) -> np.ndarray:
        """``at``, where several processes run together and all ask for the same: each reads its part for all."""
        group = parallel.group()
        slices = group.slices(len(places))
        mine = self.at(places[slices[group.number]])
        if group.of == 1:
            return mine
        whole = np.empty((len(places), mine.shape[1]), mine.dtype)
        whole[slices[group.number]] = mine
        return group.exchange(whole, slices, axis=0)

    def sample(self, config: Config) -> np.ndarray:
        """Those that stand for the scene: all, or as many as ``config.sample``."""
        places = closed_form.reference_places(keys(config).statistics, self.image.pixels, config.sample)
        return self.shared_at(places)


def closed_form_members(spectra: Spectra, config: Config, execution: Execution) -> dict[str, np.ndarray]:
    """Maps of the members that need no training.

    Args:
        spectra: of the scene.
        config: the recipe.
        execution: rows of a block, who is told, what is kept.

    Returns:
        By member, in robust standard deviations, each [pixels].
    """
    image, form = spectra.image, config.closed_form
    learned = members.learn(keys(config).references, image.valid, spectra.sample(config), spectra.shared_at, form)
    halo = members.reach(form)
    blocks = cut(image.valid, block_rows(image, config, halo, execution), halo)
    decides = config, spectra.normalisation, spectra.good_bands

    def read(block: Block) -> np.ndarray:
        return spectra.of_rows(block.reach)

    def nearest(block: Block, known: np.ndarray) -> members.Nearest:
        return members.nearest(learned, image.valid, block, known, form)

    def gaussian(block: Block, known: np.ndarray) -> np.ndarray:
        return members.gaussian(learned, image.valid, takes_part, block, known, form)

    with execution.keeper.scoring("neighbours", image, decides, lambda leaves: members.Nearest(*leaves)) as keep:
        found = map_blocks(blocks, read, nearest, execution.told("neighbours"), keep)
    maps = members.compare_nearest(found, form)
    takes_part = ~suspects.in_no_ring(image.valid, maps, form, config.fusion)
    with execution.keeper.scoring("surroundings", image, decides, lambda leaves: leaves[0]) as keep:
        found = map_blocks(blocks, read, gaussian, execution.told("surroundings"), keep)
    return maps | members.compare_gaussian(found)


def has_network(config: Config) -> bool:
    """Whether one of the members is a network."""
    return "network" in config.fusion.members


def ring_places(image: Scene, config: Config, pixels: np.ndarray) -> np.ndarray | None:
    """Where the rings of some pixels lie in the list of valid pixels, int32 [pixels, ring]."""
    if not config.context.conditional:
        return None
    return context.ring_indices(image.valid, config.context.outer, config.context.inner, pixels)
