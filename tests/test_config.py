"""Configurations: presets, TOML there and back, and one sentence for everything that is wrong."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoread_jax import config
from scoread_jax.errors import ConfigError

PRESETS = Path(config.__file__).parents[2] / "configs"

# Name: (context.outer, context.inner), epochs, noise time. The published recipes; all else they share.
PUBLISHED = {
    "scoread-hydice": ((0, 0), 100, 0.05),
    "scoread-pavia": ((7, 5), 20, 0.05),
    "scoread-hyperion": ((0, 0), 100, 0.01),
    "scoread-salinas": ((3, 1), 100, 0.05),
}

positive = st.floats(1e-8, 1e3)
fractions = st.floats(0, 1, exclude_max=True)
odd = st.integers(0, 10).map(lambda n: 2 * n + 1)


@st.composite
def rings(draw, outer, inner):
    """Holes and windows of equal number."""
    pairs = draw(st.lists(st.tuples(odd, st.integers(1, 5)), min_size=1, max_size=4))
    return {inner: tuple(hole for hole, _ in pairs), outer: tuple(hole + 2 * width for hole, width in pairs)}


@st.composite
def values(draw):
    """Some valid values by dotted key, of every kind."""
    t_max = draw(st.floats(0.5, 10))
    one_by_one = {
        "sde.sigma": st.floats(1.001, 100),
        "sde.t_min": st.floats(1e-9, 0.4),
        "sde.t_max": st.just(t_max),
        "network.name": st.sampled_from(["unet1d", "mlp"]),
        "network.hidden": st.integers(1, 64).map(lambda n: 8 * n),
        "network.channels": st.integers(1, 16).map(lambda n: 4 * n),
        "network.embedding": st.integers(1, 200).map(lambda n: 2 * n),
        "network.precondition": st.sampled_from(["over_std", "wiener"]),
        "train.epochs": st.integers(1, 10**9),
        "train.steps": st.integers(0, 10**9),
        "train.drop": fractions,
        "train.batch_size": st.integers(1, 10**6),
        "train.learning_rate": positive,
        "train.weight_decay": st.just(0.0) | positive,
        "train.schedule": st.sampled_from(["constant", "cosine"]),
        "train.warmup": fractions,
        "train.clip_norm": st.just(0.0) | positive,
        "train.ema_decay": fractions,
        "train.retain": st.floats(0, 1, exclude_min=True),
        "train.times": st.sampled_from(["uniform", "stratified"]),
        "detect.statistic": st.sampled_from(["unit_sum", "mean_score", "clean_norm"]),
        "detect.perturbations": st.integers(1, 10**6),
        "detect.precision": st.sampled_from(["float32", "bfloat16"]),
        "detect.chunk": st.integers(0, 10**6),
        "view.kind": st.sampled_from(["identity", "standardised", "root"]),
        "closed_form.views": st.sampled_from([("root",), ("standardised",), ("root", "standardised")]),
        "closed_form.neighbours": st.lists(st.integers(1, 50), min_size=1, max_size=4).map(tuple),
        "seed": st.integers(0, 2**32 - 1),
    }
    chosen = {key: draw(strategy) for key, strategy in one_by_one.items() if key != "sde.t_max" and draw(st.booleans())}
    times = st.lists(st.floats(0, t_max, exclude_min=True), min_size=1, max_size=5)
    chosen |= {"sde.t_max": t_max, "detect.times": tuple(draw(times))}
    chosen |= draw(st.just({}) | rings("closed_form.nearest_outer", "closed_form.nearest_inner"))
    if draw(st.booleans()):
        names = draw(st.permutations(["network", "ring_nearest", "ring_gaussian", "scene_nearest"]))
        weights = draw(st.lists(positive, min_size=1, max_size=4))
        chosen |= {"fusion.members": tuple(names[: len(weights)]), "fusion.weights": tuple(weights)}
    if draw(st.booleans()):
        chosen |= {"detect.estimator": "antithetic", "detect.perturbations": 2 * draw(st.integers(1, 100))}
    if draw(st.booleans()):
        inner = draw(odd)
        chosen |= {"context.inner": inner, "context.outer": inner + 2 * draw(st.integers(1, 5))}
    return chosen


def value_of(settings, key):
    group, _, field = key.rpartition(".")
    return getattr(getattr(settings, group) if group else settings, field)


def nested(values):
    table = {}
    for key, value in values.items():
        group, _, field = key.rpartition(".")
        (table.setdefault(group, {}) if group else table)[field] = value
    return table


# What is right


def test_the_presets_are_those_of_the_folder_and_load():
    assert set(config.presets()) == {path.stem for path in PRESETS.glob("*.toml")} >= {"default", "demo", *PUBLISHED}
    for name in config.presets():
        assert config.load(name) == config.load(PRESETS / f"{name}.toml")
        assert config.load(name) == config.from_table(tomllib.loads((PRESETS / f"{name}.toml").read_text()))


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_recipes_are_the_authors(name):
    settings = config.load(name)
    ring, epochs, t = PUBLISHED[name]
    assert (settings.context.outer, settings.context.inner) == ring
    assert settings.context.conditional == (ring != (0, 0))
    assert settings.train.epochs == epochs
    assert settings.detect.times == (t,)
    assert (settings.sde.name, settings.sde.sigma) == ("exponential_ve", 5.0)
    assert (settings.sde.t_min, settings.sde.t_max) == (1e-5, 1.0)
    assert (settings.network.name, settings.network.hidden) == ("unet1d", 256)
    assert (settings.network.channels, settings.network.embedding) == (16, 256)
    recipe = settings.train
    assert (recipe.learning_rate, recipe.weight_decay, recipe.batch_size) == (3e-5, 1e-2, 16)
    assert (recipe.schedule, recipe.clip_norm, recipe.ema_decay, recipe.retain) == ("constant", 0.0, 0.0, 1.0)
    assert (recipe.times, recipe.weighting) == ("uniform", "std")
    assert (settings.detect.statistic, settings.detect.perturbations) == ("unit_sum", 100)


@given(values())
def test_toml_there_and_back(chosen):
    settings = config.replace(config.Config(), chosen)
    for key, value in chosen.items():
        assert value_of(settings, key) == value
    assert config.from_table(tomllib.loads(config.to_toml(settings))) == settings
    assert config.from_table(config.as_table(settings)) == settings
    assert config.from_table(nested(chosen)) == settings


def test_a_file_there_and_back(tmp_path):
    settings = config.replace(config.load("scoread-pavia"), {"seed": 7, "detect.times": [0.01, 1]})
    (tmp_path / "mine.toml").write_text(config.to_toml(settings))
    assert config.load(tmp_path / "mine.toml") == settings
    assert config.load(str(tmp_path / "mine.toml")).detect.times == (0.01, 1.0)


def test_every_key_has_a_type_its_default_and_a_description():
    settings = config.Config()
    for key, (kind, default, text) in config.keys().items():
        assert text, key
        assert "\n" not in text
        assert value_of(settings, key) == default
        assert isinstance(default, kind if isinstance(kind, type) else tuple)
    everything = {key: default for key, (_, default, _) in config.keys().items()}
    assert config.from_table(nested(everything)) == settings
    assert config.from_table({}) == settings
    assert config.from_table({"train": {}}) == settings


def test_values_are_given_their_declared_types():
    recipe = config.TrainConfig(epochs=np.int64(3), learning_rate=1, weight_decay=np.float32(0.5))
    assert [type(value) for value in (recipe.epochs, recipe.learning_rate, recipe.weight_decay)] == [int, float, float]
    for times in (0.5, [0.5], (np.float64(0.5),)):
        assert config.DetectConfig(times=times).times == (0.5,)
        assert type(config.DetectConfig(times=times).times[0]) is float


def test_configurations_are_frozen_and_compare_by_value():
    settings = config.load("default")
    assert hash(settings) == hash(config.load("default"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.train.epochs = 3  # pyright: ignore[reportAttributeAccessIssue]


# What is wrong


def refused(table, *words):
    with pytest.raises(ConfigError) as caught:
        config.from_table(table)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 300
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("table", "key", "nearest"),
    [
        ({"train": {"epoch": 3}}, "train.epoch", "train.epochs"),
        ({"train": {"learningrate": 3}}, "train.learningrate", "train.learning_rate"),
        ({"trian": {"epochs": 3}}, "trian.epochs", "train.epochs"),
        ({"sed": 3}, "sed", "seed"),
        ({"detect": {"time": 0.1}}, "detect.time", "detect.times"),
        ({"context": {"outer": {"a": 1}}, "sees": 1}, "sees", "seed"),
    ],
)
def test_unknown_keys_get_the_nearest(table, key, nearest):
    refused(table, f"unknown key {key!r}", repr(nearest))


@pytest.mark.parametrize("table", [{"trian": {}}, {"": 3}, {"a.b": 1}, {"train": {"": 1}}, {"x": {"y": {"z": 1}}}])
def test_unknown_keys_of_any_shape_are_refused(table):
    refused(table, "unknown key", "the nearest valid one is")


@pytest.mark.parametrize(
    ("table", "key", "expected"),
    [
        ({"train": {"epochs": "ten"}}, "train.epochs", "a whole number, found 'ten'"),
        ({"train": {"epochs": 1.5}}, "train.epochs", "a whole number, found 1.5"),
        ({"train": {"epochs": 3.0}}, "train.epochs", "a whole number"),
        ({"train": {"epochs": True}}, "train.epochs", "a whole number, found True"),
        ({"train": {"epochs": [1]}}, "train.epochs", "a whole number"),
        ({"train": {"epochs": {"a": 1}}}, "train.epochs", "a whole number"),
        ({"train": {"learning_rate": "3e-5"}}, "train.learning_rate", "a number, found '3e-5'"),
        ({"train": {"learning_rate": False}}, "train.learning_rate", "a number"),
        ({"train": {"learning_rate": float("nan")}}, "train.learning_rate", "a number, found nan"),
        ({"train": {"learning_rate": float("inf")}}, "train.learning_rate", "a number, found inf"),
        ({"train": {"learning_rate": 10**400}}, "train.learning_rate", "a number"),
        ({"train": {"schedule": 3}}, "train.schedule", "text, found 3"),
        ({"detect": {"times": "0.05"}}, "detect.times", "number"),
        ({"detect": {"times": [0.05, "x"]}}, "detect.times", "number"),
        ({"detect": {"times": [[0.05]]}}, "detect.times", "number"),
        ({"detect": {"times": [True]}}, "detect.times", "number"),
        ({"detect": {"times": {"a": 1}}}, "detect.times", "number"),
        ({"train": 5}, "train", "a table"),
        ({"seed": {}}, "seed", "a whole number"),
        ({"seed": None}, "seed", "a whole number"),
    ],
)
def test_wrong_types_name_key_expectation_and_value(table, key, expected):
    refused(table, f"{key} must be ", expected)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("sde.name", "ddpm", "exponential_ve"),
        ("sde.sigma", 1.0, "greater than 1"),
        ("sde.t_min", 0, "greater than 0"),
        ("sde.t_min", 1.0, "less than sde.t_max = 1"),
        ("sde.t_max", 1e-6, "sde.t_min"),
        ("network.name", "unet", "unet1d"),
        ("network.hidden", 12, "a multiple of 8"),
        ("network.hidden", 0, "a multiple of 8"),
        ("network.channels", 6, "a multiple of 4"),
        ("network.channels", -4, "a multiple of 4"),
        ("network.embedding", 3, "a multiple of 2"),
        ("network.embedding", 0, "a multiple of 2"),
        ("network.blocks", 0, "1 or more"),
        ("network.precondition", "ddpm", "over_std, wiener, edm"),
        ("context.outer", 5, "context.inner must be odd and less than context.outer = 5, found 0"),
        ("context.outer", 4, "odd"),
        ("context.outer", 1, "at least 3"),
        ("context.outer", -3, "at least 3"),
        ("context.inner", 3, "context.inner must be 0"),
        ("train.epochs", 0, "1 or more, found 0"),
        ("train.steps", -1, "0 (epochs counts) or more"),
        ("train.max_pixels", -1, "0 (all) or more"),
        ("train.drop", 1.0, "in [0, 1)"),
        ("train.batch_size", 0, "1 or more"),
        ("train.learning_rate", 0, "greater than 0"),
        ("train.learning_rate", -1e-3, "greater than 0"),
        ("train.weight_decay", -1, "0 or more"),
        ("train.schedule", "linear", "one of constant, cosine, found 'linear'"),
        ("train.warmup", 1.0, "in [0, 1)"),
        ("train.warmup", -0.1, "in [0, 1)"),
        ("train.clip_norm", -1, "0 (not clipped) or more"),
        ("train.ema_decay", 1, "in [0, 1)"),
        ("train.patience", -1, "0 (train to the end) or more, found -1"),
        ("train.retain", 0, "in (0, 1]"),
        ("train.retain", 1.1, "in (0, 1]"),
        ("train.times", "sobol", "uniform, stratified"),
        ("train.weighting", "none", "std"),
        ("detect.statistic", "max", "unit_sum, mean_resultant, mean_score"),
        ("detect.times", [], "one noise time or more"),
        ("detect.times", [0.0], "in (0, 1] (sde.t_max), found (0.0,)"),
        ("detect.times", [0.5, 1.5], "in (0, 1] (sde.t_max), found (0.5, 1.5)"),
        ("detect.times", [-0.1], "in (0, 1]"),
        ("detect.perturbations", 0, "1 or more, found 0"),
        ("detect.first", 100, "0 (all K at once) or less than 100 for unit_sum, found 100"),
        ("detect.refine", 0, "in (0, 1], found 0"),
        ("detect.precision", "float16", "one of float32, bfloat16, found 'float16'"),
        ("detect.chunk", -1, "0 (automatic) or more"),
        ("view.kind", "pca", "identity, standardised, root"),
        ("view.components", 0, "1 or more"),
        ("closed_form.views", ["identity"], "standardised, root, or both"),
        ("closed_form.nearest_inner", [1, 3], "odd widths, one less than each of closed_form.nearest_outer"),
        ("closed_form.gaussian_outer", [5], "closed_form.gaussian_inner must be odd widths"),
        ("closed_form.neighbours", [3, 0], "numbers of 1 or more"),
        ("fusion.members", [], "each at most once"),
        ("fusion.members", ["network", "network"], "each at most once, found ('network', 'network')"),
        ("fusion.weights", [1.0, 2.0], "one number of 0 or more for each of fusion.members"),
        ("fusion.weights", [0.0], "not all 0"),
        ("fusion.linear_to", 0.0, "in (0, 1]"),
        ("fusion.veto", -0.5, "0 (without limit) or more"),
        ("fusion.surroundings", 1.5, "in [0, 1]"),
        ("fusion.window", 4, "odd"),
        ("seed", -1, "in [0, 2^32)"),
        ("seed", 2**32, "in [0, 2^32)"),
    ],
)
def test_values_out_of_range_are_refused(key, value, expected):
    group = key.partition(".")[0]
    refused(nested({key: value}), group, " must be ", expected)
    with pytest.raises(ConfigError, match=re.escape(expected)):
        config.replace(config.load("scoread-hydice"), {key: value})


@pytest.mark.parametrize("key", config.keys())
def test_every_key_refuses_something(key):
    """No value below 0 and no made-up name is valid anywhere."""
    kind = config.keys()[key][0]
    wrong = {bool: "false", str: "no such"}.get((*get_args(kind), kind)[0], -1)
    refused(nested({key: [wrong] if get_args(kind) else wrong}), key)


def test_noise_in_pairs_needs_an_even_number():
    for name in ("antithetic", "orthogonal"):
        table = {"detect": {"estimator": name, "perturbations": 5}}
        refused(table, f"detect.perturbations must be 1 or more, and even for {name} noise, found 5")


@pytest.mark.parametrize(("outer", "inner"), [(5, 5), (5, 7), (5, 2), (5, -1)])
def test_holes_that_do_not_fit_their_window_are_refused(outer, inner):
    with pytest.raises(ConfigError, match=f"context.inner must be odd and less than context.outer = 5, found {inner}"):
        config.ContextConfig(outer, inner)


def test_dataclasses_are_checked_when_made_too():
    with pytest.raises(ConfigError, match=r"train\.epochs must be a whole number, found 2\.5"):
        config.TrainConfig(epochs=2.5)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="sde must be a SDEConfig, found 'vp'"):
        config.Config(sde="vp")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match=r"detect\.times must be noise times in \(0, 1\]"):
        config.Config(detect=config.DetectConfig(times=(2.0,)))


# Files


def refused_file(path, *words):
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    for word in words:
        assert word in message


def test_a_file_with_a_wrong_value_is_named(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("[train]\nepochs = 'ten'\n")
    refused_file(path, f"{path}: train.epochs must be a whole number, found 'ten'")
    path.write_text("[train]\nepoch = 10\n")
    refused_file(path, str(path), "unknown key 'train.epoch'", "'train.epochs'")


@pytest.mark.parametrize(
    "text",
    [
        "train = [",
        "[train\n",
        "epochs: 3",
        "seed = 1\nseed = 2",
        "\0",
        "seed = " + "9" * 5000,  # more digits than Python converts
        "a = " + "[" * 100_000,
        "a = " + "{b=" * 100_000,
    ],
)
def test_files_that_are_not_toml_are_named(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    refused_file(path, f"{path}: expected a TOML file, found that it cannot be read")


@pytest.mark.parametrize("key", ["train.epochs", "detect.times", "seed", "x"])
def test_deep_nesting_is_an_error_not_a_crash(tmp_path, key):
    path = tmp_path / "mine.toml"
    path.write_text(f"[{key}{'.a' * 3000}]\n")
    refused_file(path, str(path))
    path.write_text(f"{key} = {'[' * 300}{']' * 300}\n")
    refused_file(path, str(path))


def test_files_that_are_not_text_or_not_there(tmp_path):
    path = tmp_path / "mine.toml"
    refused_file(path, f"{path}: expected a TOML file, found none there")
    refused_file(f"{'x' * 300}.toml", "expected a TOML file, found none there")
    path.mkdir()
    refused_file(path, f"{path}: expected a TOML file, found none there")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00seed")
    refused_file(tmp_path / "binary.toml", "expected a TOML file, found that it cannot be read")


def test_a_preset_that_there_is_not(tmp_path, monkeypatch):
    refused_file("hydice", "no preset called 'hydice'", "choose one of", "default", "scoread-hydice", ".toml file")
    refused_file("", "no preset called ''")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").write_text("seed = 5")  # without its suffix a file is not taken for a preset
    assert config.load("demo") == config.load(PRESETS / "demo.toml")
