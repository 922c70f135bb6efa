"""The bench: cells are run once, differences are judged as they are, peers do what they are said to do."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from benchmarks import accuracy, accuracy_tables, cells, compare, peers, plots, variants
from scoread_jax import datasets, scene
from scoread_jax.report import save_figure
from scoread_jax.scene import make_scene


def made(rows=12, cols=11, bands=6, seed=0, **more):
    values = np.random.default_rng(seed).random((rows, cols, bands)).cumsum(axis=2).astype(np.float32)
    truth = np.zeros((rows, cols), bool)
    truth[3:5, 4:6] = True
    values[truth] += 3.0
    return make_scene(values, truth=truth, name="made", **more)


def spectra_of(image):
    return scene.spectra(image, scene.global_min_max(image))


def figures_of(**methods):
    """By method and scene, from rows of a figure per scene, one seed."""
    return {name: {f"s{i}": [value] for i, value in enumerate(row)} for name, row in methods.items()}


def test_a_cell_is_run_once(tmp_path, monkeypatch):
    image, calls = made(), []
    monkeypatch.setattr(datasets, "load", lambda name: image)

    def detect(image, seeds):
        calls.extend(seeds)
        return [np.linalg.norm(image.cube, axis=2) + seed for seed in seeds]

    one = variants.Variant("one", "a", (0, 1), detect)
    first = cells.fill([one], ["made"], folder=tmp_path)
    assert calls == [0, 1]
    assert cells.fill([one], ["made"], folder=tmp_path) == first
    assert calls == [0, 1]
    assert [run["metrics"]["auc"] for run in first] == [1.0, 1.0]
    # another configuration, other data: other cells
    cells.fill([variants.Variant("one", "b", (0,), detect)], ["made"], folder=tmp_path)
    image = made(seed=1)
    cells.fill([one], ["made"], folder=tmp_path)
    assert calls == [0, 1, 0, 0, 1]
    cells.fill([one], ["made"], fresh=True, folder=tmp_path)
    assert calls == [0, 1, 0, 0, 1, 0, 1]


def test_a_finished_table_is_remembered(tmp_path, monkeypatch):
    image, calls = made(), []
    monkeypatch.setattr(datasets, "load", lambda name: image)
    one = variants.Variant(
        "one", "a", (0,), lambda image, seeds: calls.append(seeds) or [np.arange(132.0).reshape(12, 11)]
    )
    table = cells.fill([one], ["made"], folder=tmp_path / "here")
    cells.remember(table, tmp_path / "there")
    assert cells.fill([one], ["made"], folder=tmp_path / "there") == table
    assert len(calls) == 1


def test_a_recipe_is_known_by_what_it_changes(tmp_path):
    """The seed is none of it, and a value that is the usual one is the same as none."""
    texts = {"usual": 'base = "demo"\n[train]\nweight_decay = 0.01\n', "other": 'base = "demo"\n[train]\nsteps = 9\n'}
    for name, text in texts.items():
        (tmp_path / f"{name}.toml").write_text(text)
    usual, other = (variants.find(str(tmp_path / f"{name}.toml"), [3]).digest for name in texts)
    assert usual == variants.find("demo", [0]).digest
    assert usual != other


def test_another_truth_is_another_cell(tmp_path, monkeypatch):
    """A figure of the old truth must not stand beside a map of the new one."""
    image = made()
    monkeypatch.setattr(datasets, "load", lambda name: image)
    one = variants.Variant("one", "a", (0,), lambda image, seeds: [np.arange(132.0).reshape(12, 11)])
    before = cells.fill([one], ["made"], folder=tmp_path)
    image = make_scene(image.cube, truth=~np.asarray(image.truth), name="made")
    after = cells.fill([one], ["made"], folder=tmp_path)
    assert after[0]["metrics"]["auc"] == pytest.approx(1 - before[0]["metrics"]["auc"])


def test_a_fragment_is_values_over_a_preset(tmp_path):
    (tmp_path / "mine.py").write_text("def norm(pixel):\n    return abs(pixel.clean_score).sum()\n")
    (tmp_path / "few.toml").write_text('[train]\nsteps = 7\n[functions]\nstatistic = "mine.py:norm"\n')
    (tmp_path / "published.toml").write_text('base = "scoread-hydice"\n[train]\nepochs = 2\n')
    few, published = (variants.find(str(tmp_path / name), [0]) for name in ("few.toml", "published.toml"))
    default = variants.find("default", [0])
    assert (few.name, published.name) == ("few", "published")
    assert len({few.digest, published.digest, default.digest}) == 3
    assert variants.find("default", [5]).digest == default.digest  # the seed is no part of it
    (tmp_path / "mine.py").write_text("def norm(pixel):\n    return abs(pixel.clean_score).max()\n")
    assert variants.find(str(tmp_path / "few.toml"), [0]).digest != few.digest  # the user's code is


def test_a_whole_detector_from_a_file(tmp_path):
    (tmp_path / "own.py").write_text("def mine(image, seed):\n    return image.cube.sum(axis=2) + seed\n")
    found = variants.find(f"{tmp_path / 'own.py'}:mine", [0])
    assert found.name == "mine"
    np.testing.assert_array_equal(found.detect(made(), [2]), [made().cube.sum(axis=2) + 2])


def test_a_true_difference_is_seen_and_noise_is_not():
    rng = np.random.default_rng(0)
    hard = rng.normal(0.8, 0.1, 12)  # scenes differ far more than methods
    found = figures_of(base=hard, better=hard + 0.01 + rng.normal(0, 0.003, 12), same=hard + rng.normal(0, 0.003, 12))
    better, same = compare.paired_bootstrap(found, "base")
    assert (better.method, better.verdict, better.wins) == ("better", "better", 12)
    assert (same.method, same.verdict) == ("same", "undecided")


def test_the_interval_is_that_of_the_mean():
    """For one seed the bootstrap's interval is the normal one of a mean of many scenes."""
    rng = np.random.default_rng(1)
    difference = rng.normal(0.05, 0.1, 200)
    (found,) = compare.paired_bootstrap(figures_of(base=np.zeros(200), other=difference), "base")
    half = 1.96 * difference.std() / 200**0.5
    assert found.mean == pytest.approx(difference.mean())
    assert (found.low, found.high) == pytest.approx((found.mean - half, found.mean + half), abs=0.1 * half)


def test_noise_of_the_seeds_widens_the_interval():
    quiet = {"base": {"a": [0.5, 0.5], "b": [0.6, 0.6]}, "other": {"a": [0.6, 0.6], "b": [0.7, 0.7]}}
    loud = {"base": quiet["base"], "other": {"a": [0.4, 0.8], "b": [0.5, 0.9]}}
    one, two = (compare.paired_bootstrap(found, "base")[0] for found in (quiet, loud))
    assert one.mean == pytest.approx(two.mean)
    assert one.verdict == "better"
    assert two.verdict == "undecided"


def test_ranks_and_their_critical_difference():
    """Demšar 2006, table 5 b: q of Nemenyi's test at 5 % is 2.343 for three methods, 3.164 for ten."""
    found = compare.ranks(figures_of(a=[3, 3, 3, 3], b=[2, 2, 2, 1], c=[1, 1, 2, 2]))
    assert found is not None
    assert found.mean == {"a": 1.0, "b": pytest.approx(2.375), "c": pytest.approx(2.625)}
    assert found.critical_difference == pytest.approx(2.343 * (3 * 4 / (6 * 4)) ** 0.5, abs=1e-3)
    rows = {str(i): np.arange(14) + i for i in range(10)}
    ten = compare.ranks(figures_of(**rows))
    assert ten is not None
    assert ten.critical_difference == pytest.approx(3.164 * (10 * 11 / (6 * 14)) ** 0.5, abs=2e-3)
    assert compare.ranks(figures_of(a=[1, 2], b=[2, 1])) is None


def test_only_scenes_that_all_have_are_compared():
    runs = [
        {"method": method, "scene": name, "seed": 0, "metrics": {"auc": 0.5}}
        for method, names in {"a": ("s", "t"), "b": ("t",)}.items()
        for name in names
    ]
    assert compare.figures(runs, "auc")[0] == ["t"]


def test_rx_is_the_mahalanobis_distance():
    image = made()
    spectra = spectra_of(image).astype(np.float64)
    centred = spectra - spectra.mean(axis=0)
    inverse = np.linalg.inv(np.cov(spectra.T, bias=True))
    np.testing.assert_allclose(peers.rx(image, spectra, 0), (centred @ inverse * centred).sum(axis=1), rtol=1e-6)


def test_local_rx_is_that_of_spectral_python():
    spectral = pytest.importorskip("spectral")
    image = made(14, 13, 4)
    cube = spectra_of(image).reshape(14, 13, 4)
    found = peers.local_rx(image, spectra_of(image), 0, windows=(3, 7)).reshape(14, 13)
    np.testing.assert_allclose(found, spectral.rx(cube, window=(3, 7)), rtol=2e-3)


def test_local_rx_leaves_masked_pixels_out():
    mask = np.ones((12, 11), bool)
    mask[6:9, 2:5] = False
    image = made(mask=mask)
    wild = image.cube.copy()
    wild[~mask] = 1e6
    other = make_scene(wild, truth=image.truth, mask=mask, name="made")
    np.testing.assert_array_equal(*(peers.local_rx(i, spectra_of(i), 0, (3, 9)) for i in (image, other)))


@pytest.mark.parametrize("name", peers.PEERS)
def test_every_peer_finds_what_nothing_could_miss(name):
    pytest.importorskip("sklearn")
    image = made(30, 30, seed=3)
    found = peers.PEERS[name].map(image, 0)
    truth = np.asarray(image.truth)
    assert stats.rankdata(found)[truth.ravel()].mean() > 0.6 * found.size


def test_results_are_written(tmp_path, monkeypatch):
    monkeypatch.setattr(cells, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(accuracy, "RESULTS", tmp_path)
    rng = np.random.default_rng(0)
    runs = [
        {
            "method": method, "scene": f"s{s}", "seed": seed, "seconds": 1.0,
            "metrics": {"auc": float(v), "average_precision": float(v), "partial_auc_1pct": float(v)},
        }
        for method in ("ours", "theirs", "a detector of a long name") for s in range(5)
        for seed, v in enumerate(rng.random(2))
    ]  # fmt: skip
    accuracy.write_csv("t", runs)
    accuracy.draw("t", runs, "ours")
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert lines[0] == "method,scene,seed,auc,average_precision,partial_auc_1pct,seconds"
    assert len(lines) == 1 + len(runs)
    assert {"t-forest.png", "t-ranks.png"} <= {path.name for path in tmp_path.iterdir()}
    comparison = json.loads(json.dumps(accuracy.compared(runs, "ours")))
    assert comparison["auc"]["reference"] == "ours"
    assert {one["verdict"] for one in comparison["auc"]["differences"]} <= {"better", "worse", "undecided"}


def test_many_methods_fit_the_pictures(tmp_path):
    rng = np.random.default_rng(2)
    found = figures_of(**{f"method {i}": rng.random(8) + 0.05 * i for i in range(9)})
    ranks = compare.ranks(found)
    assert ranks is not None
    save_figure(plots.critical_difference(ranks, "AUC", 8), tmp_path / "ranks.png")
    save_figure(
        plots.forest(compare.paired_bootstrap(found, "method 8"), "method 8", "AUC", 8), tmp_path / "forest.png"
    )
    assert (tmp_path / "ranks.png").stat().st_size > 10_000


def test_the_page_tells_every_method_and_verdict():
    rng = np.random.default_rng(4)
    fields = ("auc", "average_precision", "partial_auc_1pct", "auc_d_tau", "auc_f_tau", "auc_td", "auc_bs", "auc_od")
    runs = [
        {
            "method": method, "scene": name, "seed": seed, "seconds": 1.0,
            "metrics": {field: float(base + rng.normal(0, 0.01)) for field in fields},
        }
        for method, base in (("default", 0.9), ("RX", 0.6), ("k-NN", 0.9))
        for name in accuracy.SCENES for seed in (0, 1)
    ]  # fmt: skip
    machine = {"device": "a machine", "threads": 1, "versions": {"jax": "1"}}
    result = {"environment": machine, "runs": runs, "comparison": accuracy.compared(runs, "default")}
    page = accuracy_tables.accuracy(result)
    assert "| RX | -0.3" in page
    assert "| worse |" in page
    assert "| undecided |" in page
    assert page.count("\n| k-NN |") == 4  # of three figures and the 3-D ROC
    assert "Is it noise?" not in accuracy_tables.accuracy({"environment": machine, "runs": runs})
