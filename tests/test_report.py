"""The figures: they draw every kind of scene, show the right pixels, and never leave half a file."""

from __future__ import annotations

import dataclasses
import itertools
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.text import Annotation, Text
from PIL import Image
from scipy.io import loadmat

from scoread_jax import config, io, metrics, report, results
from scoread_jax.errors import ConfigError, SceneError
from scoread_jax.report import charts, page
from scoread_jax.scene import make_scene

INFERNO = colormaps["inferno"]


def make_case(rows=50, cols=50, bands=20, *, truth=True, masked=True, wavelengths=True, seed=0):
    """Make a noisy scene with anomalies of 2 × 2 pixels, and a positive map that finds most of them."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((rows, cols), dtype=bool)
    for _ in range(5):
        row, col = rng.integers(rows), rng.integers(cols)
        labels[row : row + 2, col : col + 2] = True
    cube = rng.normal(1.0, 0.1, (rows, cols, bands)) + 0.4 * labels[..., None]
    scores = rng.gamma(4.0, 1.0, (rows, cols)) + 10 * labels + 1
    mask = np.ones((rows, cols), dtype=bool)
    if masked:
        mask[: max(1, rows // 10), : max(1, cols // 4)] = False
        scores[~mask] = np.nan
    scene = make_scene(
        cube,
        truth=labels if truth else None,
        mask=mask,
        wavelengths=np.linspace(400, 2500, bands) if wavelengths else None,
        name="a scene",
    )
    return scene, scores


def texts(figure):
    """All texts that are drawn: ticks beyond the ends of an axis are not."""
    hidden = set()
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        beyond = [t for t in axis.get_major_ticks() + axis.get_minor_ticks() if not low <= t.get_loc() <= high]
        hidden |= {label for tick in beyond for label in (tick.label1, tick.label2)}
    return [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip() and t not in hidden]


def words(figure):
    return "\n".join(t.get_text() for t in texts(figure))


def axes_titled(figure, title):
    return next(axes for axes in figure.axes if axes.get_title(loc="left").startswith(title))


def assert_texts_are_legible(figure):
    """No text leaves the figure and no two overlap (the numbers of close peaks may)."""
    figure.draw_without_rendering()
    width, height = figure.canvas.get_width_height()
    boxes = {}
    for text in texts(figure):
        box = text.get_window_extent()
        inside = min(box.x0, box.y0, width - box.x1, height - box.y1) >= -1
        assert inside, f"{text.get_text()!r} leaves the figure"
        if not isinstance(text, Annotation):
            boxes[text] = box
    for (one, a), (other, b) in itertools.combinations(boxes.items(), 2):
        across, down = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert across < 1 or down < 1, f"{one.get_text()!r} overlaps {other.get_text()!r}"


SHAPES = [(50, 50), (1000, 100), (100, 1000), (150, 60), (3, 4), (1, 200), (3000, 6)]


@pytest.mark.parametrize(
    ("rows", "cols", "truth"),
    [(*shape, True) for shape in SHAPES] + [(*shape, False) for shape in ((500, 50), (20, 300))],
)
def test_overview_of_every_shape(rows, cols, truth):
    scene, scores = make_case(rows, cols, truth=truth)
    figure = report.overview_figure(scene, scores)
    assert_texts_are_legible(figure)
    assert figure.get_figwidth() == 11
    assert figure.get_figheight() < 16
    for title in ("Scene", "Anomaly map"):  # pixels are square
        axes = axes_titled(figure, title)
        width, height = axes.get_position().size * figure.get_size_inches()
        assert width / cols == pytest.approx(height / rows)
    assert ("ROC AUC" in words(figure)) == truth
    assert "masked" in words(figure)


@pytest.mark.parametrize(("rows", "cols"), [(100, 80), (1000, 50), (20, 400), (2, 2)])
def test_map_figure_shows_every_pixel_as_it_is(rows, cols):
    _, scores = make_case(rows, cols)
    figure = report.map_figure(scores, "A title")
    assert_texts_are_legible(figure)
    assert figure.get_figwidth() <= 11
    image = figure.axes[0].images[0]
    np.testing.assert_array_equal(np.ma.filled(image.get_array(), np.nan), scores)
    assert image.get_interpolation() == "none"
    assert tuple(image.get_extent()) == (-0.5, cols - 0.5, rows - 0.5, -0.5)
    width, height = figure.axes[0].get_position().size * figure.get_size_inches()
    assert width / cols == pytest.approx(height / rows)
    assert "A title" in words(figure)
    assert f"{np.isnan(scores).sum()} masked (grey)" in words(figure)


def test_a_lone_anomaly_of_a_large_scene_stays_in_the_figure():
    scores = np.ones((40, 5000))
    scores[:, :2000] = np.nan
    scores[17, 3333] = 9.0
    figure = report.map_figure(scores)
    shown = figure.axes[0].images[0]
    step = round((shown.get_extent()[1] - shown.get_extent()[0]) / shown.get_array().shape[1])
    assert step > 1
    assert np.nanmax(shown.get_array()) == 9.0
    assert shown.get_array()[17 // step, 3333 // step] == 9.0
    assert f"maxima of {step} × {step}" in words(figure)
    figure.canvas.draw()
    drawn = np.asarray(figure.canvas.buffer_rgba())
    brightest = (np.array(INFERNO(1.0, bytes=True)) == drawn).all(axis=-1)
    box = figure.axes[0].get_window_extent()
    assert brightest[:, int(box.x0) :][drawn.shape[0] - int(box.y1) : drawn.shape[0] - int(box.y0)].any()


# Colours


def colour_bar_words(scores):
    return words(report.map_figure(scores))


def test_the_colour_bar_says_where_the_colours_end():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(100, 100))
    image = report.map_figure(scores).axes[0].images[0]
    assert (image.norm.vmin, image.norm.vmax) == pytest.approx(tuple(np.percentile(scores, (0.1, 99.9))))
    assert f"0.1–99.9 percentiles, maximum {scores.max():.4g}" in colour_bar_words(scores)
    scores = rng.gamma(9.0, size=(100, 100)) + 1
    scores[3, 4] = 3000.0  # rarer than the percentile and far above it
    image = report.map_figure(scores).axes[0].images[0]
    assert (image.norm.vmin, image.norm.vmax) == pytest.approx((np.percentile(scores, 0.1), 3000))
    assert image.norm(np.sqrt(image.norm.vmin * 3000)) == pytest.approx(0.5)
    assert "logarithmic, 0.1 percentile to maximum, 3000" in colour_bar_words(scores)
    mostly_zero = np.zeros((100, 100))
    mostly_zero[5, 5] = 1.0
    image = report.map_figure(mostly_zero).axes[0].images[0]
    assert (image.norm.vmin, image.norm.vmax) == (0, 1)
    assert "minimum to maximum" in colour_bar_words(mostly_zero)


@pytest.mark.parametrize("value", [0.0, -7.25, 3e9])
def test_a_constant_map_is_drawn_and_said_to_be_constant(value):
    scene, scores = make_case(20, 20)
    scores[~np.isnan(scores)] = value
    figure = report.overview_figure(scene, scores)
    assert_texts_are_legible(figure)
    assert f"constant, {value:.4g}" in words(figure)
    assert "ROC AUC 0.50000" in words(figure)


def test_a_map_without_a_scored_pixel_is_drawn():
    scene, scores = make_case(20, 20, truth=False)
    figure = report.overview_figure(scene, np.full_like(scores, np.nan))
    assert_texts_are_legible(figure)
    assert "no pixel scored" in words(figure)


def test_the_bare_map_is_one_image_pixel_a_scene_pixel(tmp_path):
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(37, 91))
    scores[5:9, 7:30] = np.nan
    io.write_map(tmp_path / "map.png", scores)
    image = Image.open(tmp_path / "map.png")
    assert (image.size, image.mode) == ((91, 37), "RGBA")
    pixels = np.asarray(image)
    masked = np.isnan(scores)
    np.testing.assert_array_equal(pixels[..., 3], np.where(masked, 0, 255))
    low, high = np.nanpercentile(scores, (0.1, 99.9))
    expected = INFERNO(np.clip((scores - low) / (high - low), 0, 1), bytes=True)
    difference = pixels[~masked].astype(int) - expected[~masked]
    assert np.abs(difference).max() <= 3  # one step of the colour map where rounding decides
    assert (difference == 0).mean() > 0.99
    for place, end in ((np.nanargmin(scores), 0.0), (np.nanargmax(scores), 1.0)):
        np.testing.assert_array_equal(pixels.reshape(-1, 4)[place], INFERNO(end, bytes=True))


def test_the_bare_map_of_a_logarithmic_and_of_a_constant_map(tmp_path):
    scores = np.ones((50, 50))
    scores[0, 0], scores[0, 1], scores[0, 2] = 10.0, 1000.0, np.nan
    scores[1:4] = 3.0
    io.write_map(tmp_path / "map.png", scores)
    pixels = np.asarray(Image.open(tmp_path / "map.png"))
    assert tuple(pixels[0, 1]) == tuple(INFERNO(1.0, bytes=True))
    assert tuple(pixels[0, 0]) == tuple(INFERNO(1 / 3, bytes=True))  # log 10 / log 1000
    assert tuple(pixels[0, 2]) == (0, 0, 0, 0)
    assert tuple(pixels[9, 9]) == tuple(INFERNO(0.0, bytes=True))
    io.write_map(tmp_path / "map.png", np.full((3, 5), 4.0))
    pixels = np.asarray(Image.open(tmp_path / "map.png"))
    assert pixels.shape == (3, 5, 4)
    assert (pixels == INFERNO(0.0, bytes=True)).all()


# The composite, the outline, the peaks


def test_composite_takes_the_visible_bands_where_they_are_known():
    scene, _ = make_case(30, 20, bands=43)
    assert report.false_colour(scene)[1] == "Colour: 650 / 550 / 450 nm."
    unknown, _ = make_case(30, 20, bands=43, wavelengths=False)
    assert report.false_colour(unknown)[1] == "False colour: bands 35, 21, 7."
    infrared = make_scene(scene.cube, wavelengths=np.linspace(1000, 2500, 43))
    assert report.false_colour(infrared)[1] == "False colour: bands 35, 21, 7."


def test_composite_is_stretched_per_band_and_grey_where_masked():
    scene, _ = make_case(30, 20, bands=43)
    composite, _ = report.false_colour(scene)
    np.testing.assert_allclose(composite[~scene.valid], 0x9A / 255)
    values = scene.cube[..., np.argmin(np.abs(scene.wavelengths - 650))][scene.valid]
    low, high = np.percentile(values, (2, 98))
    np.testing.assert_allclose(composite[scene.valid][:, 0], np.clip((values - low) / (high - low), 0, 1))


def test_bands_left_out_are_neither_in_the_composite_nor_in_the_spectra():
    scene, scores = make_case(30, 20, bands=43)
    cube = scene.cube.copy()
    cube[..., 4:9] = np.nan  # 600 to 800 nm: nothing near 650
    scene = make_scene(cube, wavelengths=scene.wavelengths)
    caption = report.false_colour(scene)[1]
    assert caption.startswith("False colour")
    bands = re.findall(r"\d+", caption)
    assert not {4, 5, 6, 7, 8} & {int(band) for band in bands}
    assert len(bands) == 3
    axes = axes_titled(report.overview_figure(scene, scores), "Spectra")
    for line in axes.lines:
        x, y = line.get_data()
        assert not np.isin(np.round(x), np.round(scene.wavelengths[4:9])).any()
        assert np.isnan(y).sum() == 1  # the gap
        assert np.isfinite(y).sum() == 38


def test_the_outline_is_the_edge_of_the_truth():
    truth = np.zeros((30, 40), dtype=bool)
    truth[10:12, 20:23] = True
    rng = np.random.default_rng(0)
    scene = make_scene(rng.random((30, 40, 5)), truth=truth)
    axes = axes_titled(report.overview_figure(scene, rng.random((30, 40))), "Scene")
    segments = {tuple(map(tuple, np.sort(s, axis=0))) for s in axes.collections[0].get_segments()}
    expected = {((x - 0.5, y), (x + 0.5, y)) for x in (20, 21, 22) for y in (9.5, 11.5)}
    expected |= {((x, y - 0.5), (x, y + 0.5)) for x in (19.5, 22.5) for y in (10, 11)}
    assert segments == expected


def test_the_outline_of_small_pixels_is_widened_and_says_so():
    scene, scores = make_case(300, 400, bands=4)
    figure = report.overview_figure(scene, scores)
    assert "px wider" in words(figure)
    corners = np.concatenate(axes_titled(figure, "Scene").collections[0].get_segments())
    rows, cols = np.nonzero(scene.truth)
    assert corners[:, 0].min() < cols.min() - 0.5
    assert corners[:, 1].max() > rows.max() + 0.5


def test_peaks_are_the_highest_and_apart():
    scores = np.zeros((40, 50))
    scores[10, 10], scores[11, 11], scores[30, 5], scores[0, 49] = 5, 4.9, 3, 4
    scores[20, 20] = np.nan
    assert report.find_peaks(scores, 10).tolist() == [[10, 10], [0, 49], [30, 5]]
    assert report.find_peaks(scores, 2).tolist() == [[10, 10], [0, 49]]
    assert report.find_peaks(np.full((4, 4), 2.0), 3).shape == (0, 2)
    assert report.find_peaks(np.full((4, 4), np.nan), 3).shape == (0, 2)


def test_spectra_are_those_of_the_highest_peaks_and_of_the_background():
    scene, scores = make_case(40, 40, bands=12, wavelengths=False)
    axes = axes_titled(report.overview_figure(scene, scores), "Spectra")
    background, best = axes.lines[0], axes.lines[1]
    members = scene.valid & ~scene.truth
    np.testing.assert_allclose(background.get_ydata(), scene.cube[members].mean(axis=0))
    row, col = np.unravel_index(np.nanargmax(scores), scores.shape)
    np.testing.assert_array_equal(best.get_ydata(), scene.cube[row, col])
    kind = "anomaly" if scene.truth[row, col] else "background"
    assert best.get_label() == f"1: row {row}, column {col}, {kind}"
    np.testing.assert_array_equal(best.get_xdata(), np.arange(12))


# Curves and figures


def test_the_curves_are_those_of_the_metrics():
    scene, scores = make_case(60, 60)
    scores = np.round(scores)  # ties
    figure = report.overview_figure(scene, scores)
    expected = metrics.evaluate(scores, scene.truth)
    curve = axes_titled(figure, "Precision").lines[-1]
    assert curve.get_drawstyle() == "steps-pre"
    recall, precision = curve.get_data()
    assert np.sum(np.diff(recall) * precision[1:]) == pytest.approx(expected.average_precision)
    x, y = axes_titled(figure, "ROC").lines[-1].get_data()
    assert np.all(np.diff(x) >= 0)
    assert np.all(np.diff(y) >= 0)
    assert np.trapezoid(y, x) == pytest.approx(expected.auc, abs=1e-3)  # starts where the axis starts
    assert f"ROC AUC {expected.auc:.5f}" in words(figure)


def test_given_metrics_are_shown_and_a_truth_of_one_class_is_none():
    scene, scores = make_case(30, 30)
    given = metrics.evaluate(np.round(scores), scene.truth)
    assert f"average precision {given.average_precision:.4f}" in words(report.overview_figure(scene, scores, given))
    empty = make_scene(scene.cube, truth=np.zeros((30, 30)))
    figure = report.overview_figure(empty, scores, title="No anomaly known")
    assert "No anomaly known" in words(figure)
    assert "highest peaks of the map" in words(figure)
    assert [axes.get_title(loc="left") for axes in figure.axes].count("ROC") == 0


# Files


def test_figures_are_written_whole_and_equal_each_time(tmp_path):
    _, scores = make_case(20, 30)
    for name in ("one.png", "two.png", "map.PDF", "map.svg"):
        report.save_figure(report.map_figure(scores), tmp_path / name, dpi=60)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert Image.open(tmp_path / "one.png").size[0] == 660
    assert (tmp_path / "map.PDF").read_bytes().startswith(b"%PDF")
    assert len(list(tmp_path.iterdir())) == 4


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    _, scores = make_case(20, 30)
    target = tmp_path / "map.png"
    target.write_bytes(b"old")
    figure = report.map_figure(scores)

    def fail(path, *_, **__):
        path.write_bytes(b"half")
        raise RuntimeError("killed")

    monkeypatch.setattr(figure, "savefig", fail)
    with pytest.raises(RuntimeError, match="killed"):
        report.save_figure(figure, target)
    monkeypatch.setattr("matplotlib.image.imsave", fail)
    with pytest.raises(RuntimeError, match="killed"):
        io.write_map(target, scores)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_suffix_that_names_no_format_is_refused(tmp_path):
    _, scores = make_case(5, 5)
    for name in ("map.docx", "map"):
        with pytest.raises(ConfigError, match=r"\.png.* found 'map"):
            report.save_figure(report.map_figure(scores), tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (np.zeros(5), "shape \\(5,\\)"),
        (np.zeros((3, 3, 3)), "shape \\(3, 3, 3\\)"),
        (np.zeros((0, 4)), "shape \\(0, 4\\)"),
        (np.array([[1.0, np.inf]]), "found 1 infinite"),
    ],
)
def test_maps_that_are_none_are_refused(scores, message, tmp_path):
    scene, _ = make_case(5, 5)
    for draw in (
        report.map_figure,
        lambda scores: io.write_map(tmp_path / "map.png", scores),
        lambda scores: report.overview_figure(scene, scores),
    ):
        with pytest.raises(SceneError, match=message):
            draw(scores)
    assert not list(tmp_path.iterdir())


def test_a_map_of_another_scene_is_refused():
    scene, _ = make_case(5, 6)
    with pytest.raises(SceneError, match="scene's 5 × 6 pixels, found 6 × 5"):
        report.overview_figure(scene, np.zeros((6, 5)))


def test_inputs_and_global_state_are_left_alone():
    program = (
        "import sys, numpy as np; from scoread_jax import report; report.map_figure(np.eye(4));"
        "assert 'matplotlib.figure' in sys.modules; assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    scene, scores = make_case(20, 20)
    before = scene.cube.copy(), scores.copy(), matplotlib.rcParams.copy()
    report.overview_figure(scene, scores)
    np.testing.assert_array_equal(scene.cube, before[0])
    np.testing.assert_array_equal(scores, before[1])
    assert matplotlib.rcParams.copy() == before[2]


# The page


def page_of(scene, scores, recipe="default", **settings):
    recipe = config.replace(config.load(recipe), settings)
    record = {"scene": results.scene_record(scene), "seconds": 1.25, "versions": {"jax": "<0>"}}
    return report.html_page(scene, scores, record, recipe, config.to_toml(recipe))


class Tags(HTMLParser):
    """Lists the tags and attributes of a page, and its text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text, self.open = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):  # noqa: D102
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):  # noqa: D102
        assert self.open.pop() == tag

    def handle_data(self, data):  # noqa: D102
        self.text.append(data)


def test_the_page_holds_all_it_needs_and_nothing_of_a_strangers_markup():
    scene, scores = make_case(40, 30)
    evil = '"><script>alert(1)</script><img src=x onerror=alert(2)>'
    scene = dataclasses.replace(scene, name=evil, source=evil, notes=(evil,))
    page = page_of(scene, scores)
    found = Tags(page)
    assert not found.open
    names = {name for name, _ in found.tags}
    assert "script" not in names
    images = [attributes for name, attributes in found.tags if name == "img"]
    assert len(images) == 10
    for attributes in images:
        assert attributes["src"].startswith("data:image/png;base64,iVBOR")
        assert attributes["alt"]
        assert set(attributes) == {"src", "alt"}
    assert names <= {
        "html", "head", "meta", "title", "style", "body", "section", "h1", "h2", "p", "div", "figure", "img",
        "figcaption", "table", "thead", "tbody", "tr", "th", "td", "ul", "li", "details", "summary", "pre",
    }  # fmt: skip
    assert not re.search(r"https?:|@import|url\(", page)
    assert "".join(found.text).count(evil) >= 3
    for words in ("Detections", "Spectra", "ROC AUC", "configuration", "[fusion]", "1.2 s", "<0>"):
        assert words in "".join(found.text)


@pytest.mark.parametrize(
    ("rows", "cols", "truth"), [(30, 30, False), (400, 20, True), (12, 300, True), (3, 4, False), (25, 25, True)]
)
def test_the_page_of_every_shape(rows, cols, truth):
    scene, scores = make_case(rows, cols, bands=5, truth=truth, wavelengths=False)
    found = Tags(page_of(scene, scores))
    assert len([1 for name, _ in found.tags if name == "img"]) == (10 if truth else 6)


def test_a_page_of_a_constant_or_empty_map():
    scene, scores = make_case(12, 12, bands=5)
    for value in (np.where(np.isnan(scores), np.nan, 2.5), np.full_like(scores, np.nan)):
        assert "0 pixels in 0 objects" in page_of(scene, value)


def test_the_null_level_is_drawn_only_where_it_is_one():
    published = config.load("scoread-hydice")
    level, words = page.null_level(published)
    assert level == pytest.approx(published.detect.perturbations**0.5)
    assert "√K" in words
    assert page.null_level(config.load("default")) is None
    assert page.null_level(config.replace(published, {"detect.statistic": "mean_score"})) is None
    assert page.null_level(config.replace(published, {"detect.times": [0.05, 0.1]})) is None


def test_the_curves_over_the_threshold_enclose_the_areas_of_the_3d_roc():
    from matplotlib.figure import Figure

    scene, scores = make_case(30, 30)
    axes = Figure().add_subplot()
    charts.draw_thresholds(axes, scores, scene.truth)
    areas = metrics.roc_3d(scores, scene.truth)
    for line, area in zip(axes.lines, (areas.auc_d_tau, areas.auc_f_tau), strict=True):
        x, y = line.get_data()
        assert np.sum(np.diff(x) * y[1:]) == pytest.approx(area)


def test_a_browser_shows_the_page(tmp_path):
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium to look with")
    scene, scores = make_case(60, 40)
    (tmp_path / "report.html").write_text(page_of(scene, scores), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    options += [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1200,3000"]
    address = (tmp_path / "report.html").as_uri()
    shot = [chromium, *options, f"--screenshot={tmp_path / 'shot.png'}", address]
    subprocess.run(shot, check=True, capture_output=True, timeout=120)
    image = np.asarray(Image.open(tmp_path / "shot.png").convert("RGB")).astype(int)
    assert image.shape == (3000, 1200, 3)
    bright = np.array(INFERNO(1.0, bytes=True)[:3])
    for half in (image[:, :600], image[:, 600:]):  # the map, and the map by rank beside it
        assert (np.abs(half - bright).sum(axis=-1) < 12).sum() > 20
    written = (image[2000:].sum(axis=-1) < 200).sum()
    assert written > 500  # the charts below
    dom = subprocess.run([chromium, *options, "--dump-dom", address], check=True, capture_output=True, timeout=120)
    assert "<h1>a scene</h1>" in dom.stdout.decode()


def test_the_published_hydice_map(data_dir, reference_dir):
    published = loadmat(data_dir / "hydice.mat")
    scene = make_scene(published["data"], truth=published["map"], name="hydice")
    figure = report.overview_figure(scene, loadmat(reference_dir / "hydice_published_map.mat")["SAD_result"])
    assert_texts_are_legible(figure)
    figure.canvas.draw()
    assert np.asarray(figure.canvas.buffer_rgba()).shape[1] == 1320
    assert "ROC AUC 0.99960   average precision 0.8955" in words(figure)
