"""What a run would take, told before it begins."""

from __future__ import annotations

import json

import numpy as np
import pytest

from scoread_jax import cli, config, plan
from scoread_jax.execution import Execution
from scoread_jax.scene import make_scene

RECIPE = config.replace(
    config.load("default"), {"train.steps": 10, "train.batch_size": 32, "view.components": 5, "detect.perturbations": 4}
)


@pytest.fixture(scope="module")
def image():
    cube = np.random.default_rng(0).random((30, 13, 7)).cumsum(axis=2).astype(np.float32)
    mask = np.ones((30, 13), bool)
    mask[:4] = False
    return make_scene(cube, mask=mask)


def test_what_is_planned(image):
    expected = plan.plan(image, RECIPE, Execution(rows=7))
    assert (expected.pixels, expected.bands, expected.rows, expected.blocks) == (26 * 13, 7, 7, 5)
    assert expected.training_pixels == round(0.95 * 26 * 13)
    assert expected.steps == 11  # ten, rounded up to whole epochs of eleven
    assert expected.evaluations == 26 * 13 * 3 * 5
    assert expected.seconds is None
    assert "338 pixels × 7 bands" in str(expected)


def test_a_recipe_without_a_network(image):
    recipe = config.replace(RECIPE, {"fusion.members": ["ring_nearest"], "fusion.weights": [1.0]})
    expected = plan.plan(image, recipe, Execution())
    assert expected.steps == expected.evaluations == expected.training_pixels == 0


def test_the_middle_of_a_scene(image):
    part = plan._middle(image, 50, 8)
    assert part.valid.shape == (8, 13)
    assert part.pixels >= 50
    assert plan._middle(image, 10**6, 8).pixels == image.pixels


def test_dry_run_writes_nothing_and_says_how_long(tmp_path, capsys):
    np.save(tmp_path / "made.npy", np.random.default_rng(0).random((12, 11, 6)).cumsum(axis=2))
    out = tmp_path / "out"
    quick = ["--train.steps", "4", "--train.batch_size", "32", "--detect.perturbations", "2", "--view.components", "3"]
    arguments = ["detect", str(tmp_path / "made.npy"), "-o", str(out), "--dry-run", "--json", *quick]
    assert cli.main([*arguments, "--fusion.members", "network", "--fusion.weights", "1", "--train.drop", "0"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["pixels"] == 132
    assert set(found["seconds"]) == {"scoring", "training"}
    assert min(found["seconds"].values()) > 0
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--max-memory", "much"], "expected an amount of memory such as 2GiB"),
        (["--max-memory", "1MB"], "the memory limit must be at least"),
        (["--block-rows", "0"], "rows of a block must be 1 or more, found 0"),
    ],
)
def test_limits_that_cannot_be_kept(tmp_path, capsys, arguments, text):
    np.save(tmp_path / "made.npy", np.random.default_rng(0).random((12, 11, 6)))
    assert cli.main(["detect", str(tmp_path / "made.npy"), "-o", str(tmp_path / "out"), *arguments]) == 2
    assert text in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
