"""Scoring by blocks: the same map however a scene is cut, within the memory that is allowed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoread_jax import blocks, config, execution, pipeline
from scoread_jax.errors import ConfigError
from scoread_jax.execution import Execution
from scoread_jax.scene import make_scene

ROWS, COLS, BANDS = 15, 13, 7
DEFAULT = config.replace(
    config.load("default"),
    {
        "train.steps": 4,
        "train.batch_size": 32,
        "view.components": 5,
        "detect.perturbations": 4,
        "closed_form.components": 5,
        "closed_form.gaussian_components": 3,
        "closed_form.scene_references": 60,
    },
)
PUBLISHED = config.replace(
    config.load("scoread-hydice"),
    {
        "context.outer": 5, "context.inner": 3, "network.hidden": 16, "network.channels": 4, "network.embedding": 4,
        "train.epochs": 1, "detect.perturbations": 4,
    },
)  # fmt: skip


TWO_PASSES = config.replace(
    DEFAULT,
    {
        "fusion.members": ["network"],
        "fusion.weights": [1.0],
        "train.drop": 0.0,
        "detect.first": 2,
        "detect.refine": 0.15,
    },
)


@pytest.fixture(scope="module")
def image():
    rng = np.random.default_rng(0)
    cube = rng.random((ROWS, COLS, BANDS)).cumsum(axis=2).astype(np.float32)
    mask = rng.random((ROWS, COLS)) < 0.9
    mask[6:8] = False  # blocks of one row without a valid pixel
    return make_scene(cube, mask=mask)


@pytest.mark.parametrize(
    "recipe", [DEFAULT, PUBLISHED, TWO_PASSES], ids=["default", "published-with-a-ring", "two-passes"]
)
def test_the_map_does_not_depend_on_the_blocks(image, recipe):
    detector, whole = pipeline.detect(image, recipe)
    np.testing.assert_array_equal(pipeline.score(detector, image, Execution(rows=1)), whole)
    _, again = pipeline.detect(image, recipe, execution=Execution(rows=7))
    np.testing.assert_array_equal(again, whole)
    if recipe is PUBLISHED:  # the raw statistic: ‖Σ u_k‖ of four unit vectors
        assert np.nanmin(whole) >= 0
        assert np.nanmax(whole) <= 4 * (1 + 1e-5)


def test_what_is_learned_from_a_sample_still_gives_a_map(image):
    recipe = config.replace(DEFAULT, {"sample": 64, "train.batch_size": 16})
    detector, whole = pipeline.detect(image, recipe)
    assert np.isfinite(whole[image.valid]).all()
    np.testing.assert_array_equal(pipeline.score(detector, image, Execution(rows=2)), whole)


@settings(max_examples=200)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 14), st.integers(0, 5))
def test_blocks_cover_the_valid_pixels_once(seed, height, rows, halo):
    valid = np.random.default_rng(seed).random((height, 4)) < 0.4
    valid[seed % height, 0] = True
    found = blocks.cut(valid, rows, halo)
    seen = [place for block in found for place in range(block.pixels.start, block.pixels.stop)]
    assert seen == list(range(valid.sum()))
    for block in found:
        assert block.reach.start == max(0, block.core.start - halo)
        assert block.reach.stop == min(height, block.core.stop + halo)
        assert block.core.stop - block.core.start <= block.most_rows
        assert valid[block.core].sum() == block.pixels.stop - block.pixels.start <= block.most_pixels
        assert valid[block.reach].sum() <= block.most_around
    for above, below in itertools.pairwise(found):
        assert above.core.stop <= below.core.start


def test_what_fails_while_reading_ahead_is_not_lost():
    valid = np.ones((4, 2), bool)

    def read(block):
        if block.core.start == 2:
            raise OSError("gone")
        return block.core.start

    with pytest.raises(OSError, match="gone"):
        blocks.map_blocks(blocks.cut(valid, 1, 0), read, lambda block, found: np.zeros(2), print)


def test_rows_fit_the_memory(image):
    held = execution.held_bytes(image, DEFAULT)
    for room in (1, 3, 6):
        limit = held + execution.block_bytes(image, DEFAULT, room, 2)
        assert execution.block_rows(image, DEFAULT, 2, Execution(memory=limit)) == room
    assert execution.block_rows(image, DEFAULT, 2, Execution()) == ROWS


def test_limits_that_cannot_be_kept(image):
    with pytest.raises(ConfigError, match="memory limit must be at least"):
        execution.block_rows(image, DEFAULT, 2, Execution(memory=2**20))
    with pytest.raises(ConfigError, match="rows of a block must be 1 or more, found 0"):
        pipeline.detect(image, DEFAULT, execution=Execution(rows=0))


@pytest.mark.parametrize(
    ("text", "size"), [("2GiB", 2 << 30), ("500MB", 500 * 10**6), ("1.5g", 3 << 29), ("4096", 4096), ("8 KiB", 8192)]
)
def test_amounts_of_memory(text, size):
    assert execution.parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "much", "-1GB", "0", "1e999", "nan", "2XB"])
def test_what_is_no_amount_of_memory(text):
    with pytest.raises(ConfigError, match="expected an amount of memory"):
        execution.parse_bytes(text)
