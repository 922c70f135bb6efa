"""A user's own process, network and statistic, each from a file of under twenty lines."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from scoread_jax import checkpoint, cli, config, io, model, pipeline, plugins, scene, views
from scoread_jax.detect import Functions
from scoread_jax.errors import CheckpointError, ConfigError

README = Path(__file__).resolve().parent.parent / "README.md"
NETWORK = """
import jax, jax.numpy as jnp
from scoread_jax.network import Network

def linear(bands, conditional):
    def init(key):
        return {"params": {"kernel": jnp.zeros((bands, bands))}, "constants": {}}

    def apply(variables, x, t, ring):
        return x @ variables["params"]["kernel"]

    return Network(init, apply)

number = 3
"""
RECIPE = ["--view.components", "4", "--train.steps", "20", "--train.batch_size", "16", "--train.drop", "0"]
ONLY_NETWORK = ["--fusion.members", "network", "--fusion.weights", "1", "--detect.times", "0.5"]
ONLY_NETWORK += ["--fusion.largest_object", "0", "--fusion.surroundings", "0", "--fusion.lend", "0"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    (example,) = re.findall(r"```python\n# mine\.py\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(example.strip().splitlines()) < 20
    (folder / "mine.py").write_text(example)
    (folder / "net.py").write_text(NETWORK)
    (folder / "broken.py").write_text("1 / 0")
    cube = np.random.default_rng(0).random((9, 8, 6)).astype(np.float32)
    np.save(folder / "scene.npy", cube)
    return folder


def detect(folder, out, *options, capsys):
    code = cli.main(["detect", str(folder / "scene.npy"), "-o", str(folder / out), *RECIPE, *ONLY_NETWORK, *options])
    assert code == 0, capsys.readouterr().err
    return np.load(folder / out / "map.npy")


def test_own_functions_change_the_map(folder, capsys):
    plain = detect(folder, "plain", capsys=capsys)
    places = {"sde": "mine.py:my_sde", "statistic": "mine.py:my_statistic", "network": "net.py:linear"}
    for name, place in places.items():
        own = detect(folder, name, f"--{name}", str(folder / place), capsys=capsys)
        assert np.isfinite(own).all()
        assert not np.allclose(own, plain, rtol=1e-3), name


def test_own_statistic_is_the_one_that_runs(folder, capsys):
    """The example is E‖std · s + z‖²: of the best linear denoiser, v/(v + σ²) for each coordinate of variance v."""
    own = ["--statistic", str(folder / "mine.py:my_statistic"), "--network", str(folder / "net.py:linear")]
    untrained = ["--train.learning_rate", "1e-12", "--detect.perturbations", "400"]
    found = detect(folder, "known", *own, *untrained, capsys=capsys)
    image = io.read_scene(folder / "scene.npy")
    spectra = scene.spectra(image, scene.global_min_max(image))
    variance = views.learn(spectra, "standardised", 4).apply(spectra).var(axis=0)
    assert found.mean() == pytest.approx((variance / (variance + 0.5**2)).sum(), rel=0.03)


def test_own_functions_are_not_saved(folder):
    image = io.read_scene(folder / "scene.npy")
    values = {"train.steps": 5, "train.batch_size": 16, "train.drop": 0.0, "view.components": 4}
    own = Functions(network=plugins.load(str(folder / "net.py:linear")))
    detector = pipeline.fit(image, config.replace(config.load("default"), values), functions=own)
    with pytest.raises(CheckpointError, match="train and score in one go"):
        checkpoint.save(folder / "saved", detector)
    assert not (folder / "saved").exists()


@pytest.mark.parametrize(
    ("option", "place", "words"),
    [
        ("--sde", "mine.py", "expected FILE.py:NAME"),
        ("--sde", "none.py:x", "found no such file"),
        ("--sde", "broken.py:x", "found ZeroDivisionError: division by zero"),
        ("--sde", "mine.py:yours", "expected a definition of yours, found jnp, GaussianSDE, scale"),
        ("--sde", "mine.py:scale", "expected a process such as GaussianSDE"),
        ("--statistic", "net.py:number", "expected a function, found 3"),
    ],
)
def test_bad_places(folder, capsys, option, place, words):
    code = cli.main(["detect", str(folder / "scene.npy"), "-o", str(folder / "bad"), option, str(folder / place)])
    message = capsys.readouterr().err.splitlines()[-1]
    assert code == 2
    assert message.startswith("scoread: error: ")
    assert words in message
    assert not (folder / "bad").exists()


def test_times_beyond_an_own_process(folder):
    recipe = config.replace(config.load("default"), {"detect.times": [5.0]})
    with pytest.raises(ConfigError, match=r"\(0, 3\]"):
        model.build(recipe, 4, Functions(sde=plugins.load(str(folder / "mine.py:my_sde"))))
