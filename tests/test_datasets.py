"""Scenes by name: where they are looked for, that they are the published ones, and the made scene."""

from __future__ import annotations

import functools
import hashlib
import http.server
import logging.handlers
import threading

import numpy as np
import pooch
import pytest
import scipy.ndimage

from scoread_jax import datasets, scene
from scoread_jax.errors import SceneError

# Name: shape of the cube, its type, anomalous pixels (None: no truth), good bands, valid pixels.
EXPECTED = {
    "hydice": ((100, 80, 162), "uint16", 19, 162, 8000),
    "hyperion": ((100, 100, 145), "uint16", 32, 145, 10000),
    "pavia": ((105, 120, 102), "uint16", 71, 102, 12600),
    "los-angeles-1": ((100, 100, 205), "uint16", 144, 205, 10000),
    "los-angeles-2": ((100, 100, 205), "uint16", 87, 205, 10000),
    "gulfport": ((100, 100, 191), "uint16", 60, 191, 10000),
    "texas-coast": ((100, 100, 204), "int16", 67, 204, 10000),
    "cat-island": ((150, 150, 188), "int16", 19, 188, 22500),
    "sandiego": ((100, 100, 189), "uint16", 58, 189, 10000),
    "sandiego-224": ((100, 100, 224), "int16", 57, 202, 10000),
    "salinas-implants-14": ((126, 150, 204), "uint16", 185, 204, 18900),
    "salinas-implants-4": ((126, 150, 204), "uint16", 185, 204, 18900),
    "hydice-v73": ((80, 100, 162), "float64", 17, 162, 8000),
    "muufl": ((51, 88, 72), "float32", None, 72, 3884),
    "synthetic": ((64, 64, 100), "uint16", 23, 100, 4096),
}
RANGES = {"hydice": (0, 592), "hyperion": (38, 7626), "pavia": (0, 6733), "cat-island": (-32, 6593)}


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Two empty folders in place of the user's data and cache."""
    data, cache = tmp_path / "data", tmp_path / "cache"
    data.mkdir()
    monkeypatch.setenv("SCOREAD_DATA_DIR", str(data))
    monkeypatch.setenv("SCOREAD_CACHE_DIR", str(cache))
    return data, cache


def test_every_name_is_expected():
    assert set(datasets.names()) == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_scenes_are_what_their_name_says(data_dir, monkeypatch, name):
    monkeypatch.setenv("SCOREAD_DATA_DIR", str(data_dir))
    image = datasets.load(name)
    shape, dtype, anomalous, bands, pixels = EXPECTED[name]
    assert (image.cube.shape, str(image.cube.dtype)) == (shape, dtype)
    assert (image.bands, image.pixels, image.name) == (bands, pixels, name)
    assert (image.truth is None) == (anomalous is None)
    if anomalous is not None:
        assert np.count_nonzero(image.truth) == anomalous
        assert f"{anomalous} " in datasets.find(name).description or name == "synthetic"
    assert " × ".join(map(str, shape)) in datasets.find(name).description
    if name in RANGES:
        low, high = RANGES[name]
        assert scene.global_min_max(image) == scene.Normalisation(low, high - low)


def test_wavelengths_of_muufl(data_dir, monkeypatch):
    monkeypatch.setenv("SCOREAD_DATA_DIR", str(data_dir))
    wavelengths = datasets.load("muufl").wavelengths
    np.testing.assert_allclose(wavelengths[[0, -1]], [367.7, 1043.4], atol=0.01)
    assert (np.diff(wavelengths) > 0).all()


def published():
    return {file.name: file for name in datasets.names() for file in datasets.find(name).files}


@pytest.mark.parametrize("name", published())
def test_digests_are_those_of_the_files(data_dir, name):
    assert hashlib.sha256((data_dir / name).read_bytes()).hexdigest() == published()[name].sha256


def test_downloads_are_pinned_by_commit():
    urls = [file.url for file in published().values() if file.url]
    assert len(urls) >= 12
    for url in urls:
        owner, repository, commit, *path = url.removeprefix("https://raw.githubusercontent.com/").split("/")
        assert all([owner, repository, path])
        assert len(commit) == 40
        assert set(commit) <= set("0123456789abcdef")
        assert " " not in url


def test_info_is_one_line():
    assert datasets.info("salinas-implants-4") == (
        "AVIRIS: 126 × 150 × 204, 185 implanted pixels that are hard to tell from the background "
        "(salinas_implants_4.mat from github.com/fverdoja/LAD-Laplacian-Anomaly-Detector, "
        "salinas_implants_gt.mat from github.com/fverdoja/LAD-Laplacian-Anomaly-Detector)"
    )
    assert datasets.info("synthetic").startswith("made on the spot")


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(SceneError, match=r"hydise: .*did you mean hydice\?"):
        datasets.load("hydise")
    with pytest.raises(SceneError, match="synthetic"):
        datasets.path("qqq")


def test_own_files_come_first_and_are_not_judged(folders):
    data, _ = folders
    (data / "hydice.mat").write_bytes(b"mine")
    assert datasets.path("hydice") == (data / "hydice.mat",)
    with pytest.raises(SceneError, match=r"hydice\.mat"):
        datasets.load("hydice")


def test_a_whole_file_in_the_cache_needs_no_download(folders, data_dir, monkeypatch):
    _, cache = folders
    cache.mkdir()
    for name in ("pavia_center_105x120.mat", "pavia_center_gt.mat"):
        (cache / name).write_bytes((data_dir / name).read_bytes())
    monkeypatch.setattr(datasets, "_download", lambda *_: pytest.fail("downloaded"))
    assert datasets.path("pavia") == (cache / "pavia_center_105x120.mat", cache / "pavia_center_gt.mat")
    assert np.count_nonzero(datasets.load("pavia").truth) == 71


def test_offline_says_what_to_put_where(folders, monkeypatch):
    _, cache = folders

    def offline(*_, **__):
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(pooch, "retrieve", offline)
    with pytest.raises(SceneError) as caught:
        datasets.load("pavia")
    message = str(caught.value)
    file = datasets.find("pavia").files[0]
    for words in (str(cache / file.name), file.url, file.sha256, "no route to host", "SCOREAD_DATA_DIR"):
        assert words in message
    assert "data%20and%20AUC/dataPavia.mat" in message
    assert "\n" not in message


def test_a_file_without_a_download_says_so(folders):
    _, cache = folders
    with pytest.raises(SceneError, match="found none and know of no download") as caught:
        datasets.load("gulfport")
    assert "github.com/Tanishq251/SM-HAD" in str(caught.value)
    cache.mkdir()
    (cache / "gulfport.mat").write_bytes(b"another")
    with pytest.raises(SceneError, match="found another file of this name"):
        datasets.load("gulfport")


@pytest.fixture
def server(tmp_path):
    """Serve one folder on this machine: give its address and the folder."""
    folder = tmp_path / "published"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}", folder
        running.shutdown()


def test_downloads_are_checked_and_kept(folders, server, data_dir, monkeypatch):
    _, cache = folders
    address, folder = server
    said = logging.handlers.BufferingHandler(100)
    pooch.get_logger().addHandler(said)
    monkeypatch.setattr(datasets.File, "url", property(lambda file: f"{address}/{file.name}"))
    with pytest.raises(SceneError, match="404"):
        datasets.path("muufl")
    (folder / "muufl_masked.mat").write_bytes(b"something else")
    with pytest.raises(SceneError, match=r"(?i)hash"):
        datasets.path("muufl")
    assert list(cache.iterdir()) == []
    (folder / "muufl_masked.mat").write_bytes((data_dir / "muufl_masked.mat").read_bytes())
    (cache / "muufl_masked.mat").write_bytes(b"damaged")
    assert datasets.path("muufl") == (cache / "muufl_masked.mat",)
    assert datasets.load("muufl").pixels == 3884
    pooch.get_logger().removeHandler(said)
    assert said.buffer == []


@pytest.mark.parametrize("target", ["file://{folder}/muufl_masked.mat", "ftp://127.0.0.1/muufl_masked.mat", "here"])
def test_redirects_lead_to_no_file(folders, tmp_path, monkeypatch, target):
    """Nor does what lies behind one that is followed count, unless it is the published file."""
    _, cache = folders
    (tmp_path / "muufl_masked.mat").write_bytes(b"of this machine")

    class Elsewhere(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path.endswith("here"):
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"another file")
                return
            self.send_response(302)
            self.send_header("Location", target.format(folder=tmp_path))
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{running.server_address[1]}"
        monkeypatch.setattr(datasets.File, "url", property(lambda file: f"{address}/{file.name}"))
        with pytest.raises(SceneError, match=r"InvalidSchema|(?i:hash)"):
            datasets.path("muufl")
        running.shutdown()
    assert list(cache.iterdir()) == []


def global_rx(cube):
    """Mahalanobis distance of every pixel from the scene's mean, [pixels]."""
    x = cube.reshape(-1, cube.shape[2]).astype(np.float64)
    x -= x.mean(axis=0)
    return np.einsum("pb,bc,pc->p", x, np.linalg.pinv(np.cov(x.T)), x)


def roc_auc(scores, truth):
    anomalous, background = scores[truth], scores[~truth]
    return np.mean(anomalous[:, None] > background)


def test_synthetic_depends_on_its_seed_alone():
    first, again, other = datasets.synthetic(), datasets.synthetic(0), datasets.synthetic(1)
    assert scene.digest(first) == scene.digest(again)
    np.testing.assert_array_equal(first.truth, again.truth)
    assert scene.digest(first) != scene.digest(other)
    assert first.source == "synthetic(key_seed=0, rows=64, cols=64, bands=100)"


@pytest.mark.parametrize("seed", range(4))
def test_synthetic_is_moderately_hard(seed):
    image = datasets.synthetic(seed)
    assert image.cube.dtype == np.uint16
    assert (image.bands, image.pixels, image.notes) == (100, 4096, ())
    np.testing.assert_allclose(image.wavelengths[[0, -1]], [400, 2500])
    assert 0.004 < np.mean(image.truth) < 0.008
    objects, count = scipy.ndimage.label(image.truth, np.ones((3, 3)))
    sizes = np.bincount(objects.ravel())[1:]
    assert count >= 6
    assert sizes.min() == 1
    assert 1 < sizes.max() <= 6
    assert 0.85 < roc_auc(global_rx(image.cube), image.truth.ravel()) < 0.99


def test_synthetic_has_the_size_that_is_asked_for():
    image = datasets.synthetic(3, rows=9, cols=31, bands=17)
    assert image.cube.shape == (9, 31, 17)
    assert np.count_nonzero(image.truth) >= 2
    with pytest.raises(SceneError, match="at least 8"):
        datasets.synthetic(rows=7)
