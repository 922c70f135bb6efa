"""One HTML file that tells a run: no script, nothing loaded from elsewhere, every word from outside escaped."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from scoread_jax import metrics as figures_of
from scoread_jax import objects, threshold
from scoread_jax.config import Config
from scoread_jax.errors import SceneError
from scoread_jax.metrics import Metrics
from scoread_jax.objects import Object
from scoread_jax.report import panels
from scoread_jax.report.images import false_colour, find_peaks

if TYPE_CHECKING:
    from scoread_jax.georeference import Georeference
    from scoread_jax.scene import Scene

# Where the page cuts the map: at this rate; in large scenes where it expects as many false alarms as a picture takes.
_FALSE_ALARMS, _MOST_FALSE_ALARMS = 1e-2, 500
_SHOWN = 10

_STYLE = """
:root { color-scheme: light; }
body { margin: 2rem auto; max-width: 1120px; padding: 0 1rem; font: 15px/1.5 system-ui, sans-serif; color: #222; }
h1 { font-size: 1.7rem; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; border-bottom: 1px solid #ddd; }
.sub { color: #595959; margin: .2rem 0 0; overflow-wrap: anywhere; }
.grid { display: grid; gap: 1rem 2rem; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(min(430px, 100%), 1fr)); }
.grid.wide { grid-template-columns: 1fr; }
figure { margin: 0; }
figure img { max-width: 100%; height: auto; }
figcaption { color: #595959; font-size: .85rem; padding-left: 2.5rem; }
table { border-collapse: collapse; margin: .8rem 0; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .15rem 1.2rem .15rem 0; vertical-align: top; font-weight: normal; }
th { color: #595959; }
td.n, th.n { text-align: right; }
thead th { border-bottom: 1px solid #bbb; }
pre { background: #f5f5f5; padding: .8rem; overflow: auto; font-size: .85rem; }
.note { overflow-wrap: anywhere; }
"""


def html_page(scene: Scene, anomaly_map: ArrayLike, record: Mapping[str, Any], config: Config, toml: str) -> str:
    """Tell a run on one page: scene, map, detections, spectra, scores, curves, settings.

    Args:
        scene: the scene that was scored.
        anomaly_map: finite [rows, cols], NaN = masked.
        record: what ``result.json`` holds.
        config: what the scene was scored with.
        toml: the same as text.

    Returns:
        HTML; figures are in it.
    """
    scores = np.asarray(anomaly_map, np.float64)
    truth = _both_classes(scene, scores)
    cut, rule = _cut(scores)
    found, numbers = objects.find(scores, cut, scene.georeference)
    peaks = np.array([(each.peak_row, each.peak_col) for each in found[:_SHOWN]], np.intp).reshape(-1, 2)
    composite, caption = false_colour(scene)
    caption += " Grey: masked." if not scene.valid.all() else ""
    marked, widened = panels.overlay(composite, numbers > 0, peaks, truth)
    outlines = "Cyan: detections, numbered by their peak." + (" Amber: ground truth." if truth is not None else "")
    outlines += f" Outlines lie {widened} px outside, so that small ones show." if widened else ""
    sections = [
        _heading(scene, record),
        _section(
            "Scene and map",
            _figures(
                ("scene in colours", panels.preview(composite), caption),
                ("detections on the scene", marked, outlines),
                ("anomaly map", panels.linear_map(scores), "Anomaly map, colours linear in the score."),
                (
                    "anomaly map by rank",
                    panels.percentile_map(scores),
                    "The same by rank: background shows its texture.",
                ),
            ),
        ),
        _section("Detections", _detections(found, numbers, cut, rule, scene.georeference)),
        _section("Spectra", _figures(("spectra", panels.spectra(scene, scores, truth, peaks), ""), kind="grid wide")),
    ]
    drawn = [("histogram of the scores", panels.histogram(scores, null_level(config)), "")]
    if truth is not None:
        names = ("ROC", "precision and recall", "3-D ROC over the threshold", "separability")
        drawn += [(name, image, "") for name, image in zip(names, panels.curves(scores, truth), strict=True)]
    sections.append(_section("Scores" if truth is None else "Scores and ground truth", _figures(*drawn)))
    if truth is not None:
        sections.append(_metrics(figures_of.evaluate(scores, truth)))
    sections.append(_section("How it was made", _settings(scene, record, toml)))
    return _page(scene.name, "\n".join(sections))


def null_level(config: Config) -> tuple[float, str] | None:
    """Where the scores of pure background lie, √K, when the map is the length of a sum of K unit scores; else None."""
    alone = tuple(config.fusion.members) == ("network",) and not config.fusion.in_image
    if not alone or config.detect.statistic != "unit_sum" or len(config.detect.times) > 1:
        return None
    level = config.detect.perturbations**0.5
    return level, f"√K = {level:.3g}: unit scores without a common direction"


def _cut(scores: np.ndarray) -> tuple[float, str]:
    """A threshold for the picture: by the background's tail, or where that cannot be fitted the ten highest peaks."""
    rate = min(_FALSE_ALARMS, _MOST_FALSE_ALARMS / max(1, np.count_nonzero(~np.isnan(scores))))
    try:
        cut = threshold.by_false_alarm_rate(scores, rate)
        return cut, f"a false-alarm rate of {rate:.2g}, by the fitted tail of the background"
    except SceneError:
        peaks = find_peaks(scores, _SHOWN)
        lowest = min((float(scores[row, col]) for row, col in peaks), default=np.inf)
        return lowest, "the ten highest peaks, since the scene is too small to fit the background's tail"


def _both_classes(scene: Scene, scores: np.ndarray) -> np.ndarray | None:
    if scene.truth is None or np.unique(scene.truth[~np.isnan(scores)]).size < 2:
        return None
    return scene.truth


def _heading(scene: Scene, record: Mapping[str, Any]) -> str:
    about = record["scene"]
    size = f"{about['rows']} × {about['cols']} pixels, {about['bands']} bands, {about['pixels']} valid pixels"
    lines = [size, f"read from {about['source']}", f"scored in {record['seconds']:.1f} s"]
    return f"<h1>{escape(scene.name)}</h1>\n" + "\n".join(f'<p class="sub">{escape(line)}</p>' for line in lines)


def _detections(
    found: Sequence[Object], numbers: np.ndarray, cut: float, rule: str, georeference: Georeference | None
) -> str:
    pixels = np.count_nonzero(numbers)
    words = f"<p>Score ≥ {cut:.5g} ({escape(rule)}): {pixels} pixels in {len(found)} objects"
    if not found:
        return words + ".</p>"
    words += f"; the {_SHOWN} highest:</p>" if len(found) > _SHOWN else ":</p>"
    placed = found[0].x is not None
    area = "area" if georeference is None or georeference.crs is None else "area, m²"
    columns = ["object", "peak", "mean", "pixels", "row", "column"] + ([area, "x", "y"] if placed else [])
    head = "".join(f'<th class="n">{name}</th>' for name in columns)
    rows = []
    for each in found[:_SHOWN]:
        cells = [each.number, f"{each.peak:.4g}", f"{each.mean:.4g}", each.pixels, f"{each.row:.1f}", f"{each.col:.1f}"]
        if placed:
            cells += [f"{each.area:.4g}", f"{each.x:.10g}", f"{each.y:.10g}"]
        rows.append("<tr>" + "".join(f'<td class="n">{cell}</td>' for cell in cells) + "</tr>")
    return f"{words}\n<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _metrics(found: Metrics) -> str:
    rows = "".join(
        f'<tr><th>{escape(name.strip())}</th><td class="n">{escape(value)}</td></tr>'
        for name, value in figures_of.table_rows(found)
    )
    return f"<table>{rows}</table>"


def _settings(scene: Scene, record: Mapping[str, Any], toml: str) -> str:
    facts = {"data (SHA-256)": record["scene"]["sha256"]}
    facts |= {"versions": ", ".join(f"{name} {version}" for name, version in record["versions"].items())}
    rows = "".join(f'<tr><th>{name}</th><td class="note">{escape(value)}</td></tr>' for name, value in facts.items())
    notes = "".join(f'<li class="note">{escape(note)}</li>' for note in scene.notes)
    return (
        f"<table>{rows}</table>\n<ul>{notes}</ul>\n"
        f"<details><summary>configuration</summary><pre>{escape(toml)}</pre></details>"
    )


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>\n{body}</section>"


def _figures(*figures: tuple[str, bytes, str], kind: str = "grid") -> str:
    entries = []
    for name, image, caption in figures:
        source = f"data:image/png;base64,{base64.b64encode(image).decode()}"
        words = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
        entries.append(f'<figure><img src="{source}" alt="{escape(name)}">{words}</figure>')
    return f'<div class="{kind}">{"".join(entries)}</div>'


def _page(title: str, body: str) -> str:
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}: anomalies</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )
