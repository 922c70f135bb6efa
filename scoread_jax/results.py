"""What a run leaves behind: the map, its figures, the configuration, and a record of where it all came from."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from scoread_jax import config as configuration
from scoread_jax import metrics, report, workers
from scoread_jax._version import __version__
from scoread_jax.bands import ranges
from scoread_jax.config import Config
from scoread_jax.errors import ScoreADError
from scoread_jax.georeference import Georeference
from scoread_jax.io import atomic_set, check_replaceable, write_json, write_map, write_text
from scoread_jax.metrics import Metrics
from scoread_jax.scene import Scene, digest

PLAIN_FORMATS = ("npy", "mat")
BESIDE = ("map.png", "overview.png", "report.html", "config.toml", "result.json")
FILES = (*(f"map.{name}" for name in PLAIN_FORMATS), *BESIDE)  # of a scene whose place is not known
_LONG = 100  # characters of a line of metadata
_MOST_SENT = 1 << 27  # bytes of a scene that are sent to another process
_LIBRARIES = ("jax", "jaxlib", "flax", "optax", "numpy", "scipy")


@dataclasses.dataclass(frozen=True)
class Output:
    """Where a run leaves what.

    Attributes:
        folder: made where it does not exist.
        maps: files of the map in that folder, each in the format of its suffix.
        whole: whether figures, configuration and record are wanted too.
    """

    folder: Path
    maps: tuple[Path, ...]
    whole: bool = True

    @property
    def place(self) -> Path:
        """What one run at a time may write."""
        return self.folder if self.whole else self.maps[0]


def in_folder(folder: Path, georeference: Georeference | None, formats: Sequence[str] = ()) -> Output:
    """Everything, in a folder of its own.

    Args:
        folder: made where it does not exist.
        georeference: of the scene. Where there is one, its map is also a GeoTIFF, or NetCDF where rasterio is missing.
        formats: suffixes of map files without the dot, in place of the usual ones.
    """
    if not formats:
        placed = "tif" if find_spec("rasterio") else "nc"
        formats = PLAIN_FORMATS if georeference is None else (*PLAIN_FORMATS, placed)
    return Output(folder, tuple(folder / f"map.{name}" for name in formats))


class Pages(NamedTuple):
    """What is drawn of a run, and where.

    Attributes:
        folder: of the files.
        image: the scene that was scored.
        anomaly_map: float [rows, cols], NaN = masked.
        metrics: where the ground truth has both classes.
        record: what ``result.json`` holds.
        config: what the scene was scored with.
    """

    folder: Path
    image: Scene
    anomaly_map: np.ndarray
    metrics: Metrics | None
    record: Mapping[str, Any]
    config: Config


Draw = Callable[[Pages], Exception | None]
"""Draws, and returns what stood in its way."""


def get_ready(_: int = 0) -> None:
    """Load what ``draw`` needs and nothing before it does: seconds of work that may be done beside other work."""
    for name in ("scipy.optimize", "scipy.ndimage"):
        importlib.import_module(name)
    report.get_ready()


def _with_error_returned(drawing: Callable[[Pages], None]) -> Draw:
    """What is drawn in another process tells of what the user can mend; it does not end by it."""

    @functools.wraps(drawing)
    def draw(pages: Pages) -> Exception | None:
        try:
            drawing(pages)
        except (ScoreADError, OSError, MemoryError) as error:
            return error
        return None

    return draw


@_with_error_returned
def draw_figures(pages: Pages) -> None:
    """Write ``map.png`` and ``overview.png``."""
    folder, image, anomaly_map, found, _, _ = pages
    report.save_figure(report.map_figure(anomaly_map, f"Anomaly map of {image.name}"), folder / "map.png")
    report.save_figure(report.overview_figure(image, anomaly_map, found), folder / "overview.png")


@_with_error_returned
def draw_page(pages: Pages) -> None:
    """Write ``report.html``."""
    folder, image, anomaly_map, _, record, config = pages
    toml = configuration.to_toml(config)
    write_text(folder / "report.html", report.html_page(image, anomaly_map, record, config, toml))


def draw(pages: Pages) -> Exception | None:
    """Write the figures and the page of a run."""
    return draw_figures(pages) or draw_page(pages)


def draw_on_two_cores(pages: Pages) -> Exception | None:
    """``draw``, the page in a copy of this process, where the system can make one."""
    if not workers.can_be_copied():
        return draw(pages)
    with workers.started(draw_page, copied=True) as hand_out:
        result = hand_out(pages)
        wrong, found = draw_figures(pages), result()
    return wrong or _or_here(found, draw_page, pages)


def _or_here(found: Exception | workers.Died | None, draw: Draw, pages: Pages) -> Exception | None:
    return draw(pages) if isinstance(found, workers.Died) else found


@contextlib.contextmanager
def drawn_beside(image: Scene) -> Iterator[Draw]:
    """Draw in a process of its own, which gets ready while this one computes: neither waits for Python's lock.

    A scene that is read as it is wanted, or that is large, is drawn here, and so is one whose process died.
    """
    if type(image.cube) is not np.ndarray or image.cube.nbytes > _MOST_SENT:
        yield draw
        return
    with workers.started(draw_on_two_cores, get_ready) as hand_out:
        yield lambda pages: _or_here(hand_out(pages)(), draw, pages)


def write(
    output: Output,
    image: Scene,
    anomaly_map: np.ndarray,
    config: Config,
    seconds: float,
    detector: str = "",
    draw: Draw = draw,
) -> tuple[dict[str, Any], Metrics | None]:
    """Write all files of a run; those of an earlier run in the same place are replaced together, or not at all.

    Args:
        output: what is written where.
        image: the scene that was scored.
        anomaly_map: float [rows, cols], NaN = masked.
        config: what it was scored with.
        seconds: what it took.
        detector: digest of the detector that scored; none where it was trained on the scene.
        draw: where figures and page are drawn, see ``drawn_beside``.

    Returns:
        What ``result.json`` holds, and the metrics where the ground truth has both classes.

    Raises:
        ScoreADError: when the system refuses to write.
    """
    found = _metrics(image, anomaly_map)
    record = {
        "scene": scene_record(image),
        "metrics": None if found is None else found.as_dict(),
        "config": configuration.as_table(config),
        "detector": detector,
        "seconds": seconds,
        "versions": _versions(),
    }
    tags = provenance(record, config)
    with _made(output.folder):
        for path in output.maps:
            check_replaceable(path)
        with atomic_set(output.folder) as folder:
            for path in output.maps:
                write_map(folder / path.name, anomaly_map, image.georeference, tags)
            if output.whole:
                wrong = draw(Pages(folder, image, anomaly_map, found, record, config))
                if wrong is not None:
                    raise wrong
                write_text(folder / "config.toml", configuration.to_toml(config))
                write_json(folder / "result.json", record)
    return record, found


@contextlib.contextmanager
def _made(folder: Path) -> Iterator[None]:
    """While files are written to a folder: it is made where there is none, and goes again where none are left in it."""
    there = folder.is_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ScoreADError(
            f"{folder}: expected a directory for the results, found: {error.strerror}; choose another place"
        ) from error
    try:
        yield
    finally:
        if not there:
            with contextlib.suppress(OSError):  # not empty
                folder.rmdir()


def provenance(record: Mapping[str, Any], config: Config) -> dict[str, str]:
    """What travels inside of a map's file: where it came from, in text."""
    return {
        "software": f"scoread-jax {__version__}",
        "versions": ", ".join(f"{name} {version}" for name, version in record["versions"].items()),
        "input": record["scene"]["source"],
        "input_sha256": record["scene"]["sha256"],
        "configuration": configuration.to_toml(config),
    }


def describe(image: Scene) -> str:
    """Say in a few lines what a scene holds and what was decided about it."""
    truth = "no ground truth"
    if image.truth is not None:
        truth = f"{np.count_nonzero(image.truth)} anomalous pixels in the ground truth"
    size = f"{image.rows} × {image.cols} pixels, {image.bands} bands, {image.cube.dtype}"
    return "\n  ".join([f"{image.name}: {size}, {truth}", *image.notes])


def describe_fully(image: Scene) -> str:
    """Say all that is understood of a scene: what ``describe`` says, values, bands, place and metadata."""
    record = scene_record(image)
    low, high = record["range"]
    lines = [f"valid pixels: {image.pixels} of {image.valid.size}, values {low:g} to {high:g}"]
    lines += [f"good bands (counted from 0): {record['good_bands']} of {image.good_bands.size}"]
    if record["wavelengths"]:
        shortest, longest = record["wavelengths"]
        lines += [f"wavelengths: {shortest:g} to {longest:g} nm"]
    lines += [f"place: {word} {value}" for word, value in (record["place"] or {"not": "known"}).items()]
    lines += [f"sha256: {record['sha256']}"]
    lines += [f"metadata: {name} = {_shortened(value)}" for name, value in image.metadata.items()]
    return "\n  ".join([describe(image), *lines])


def scene_record(image: Scene) -> dict[str, Any]:
    """Describe a scene in plain values, with the digest of its data."""
    good = image.good_bands
    known = None if image.wavelengths is None else image.wavelengths[good]
    return {
        "name": image.name,
        "source": image.source,
        "rows": image.rows,
        "cols": image.cols,
        "bands": image.bands,
        "good_bands": ranges(np.flatnonzero(good)),
        "pixels": image.pixels,
        "type": str(image.cube.dtype),
        "range": [float(image.low[good].min()), float(image.high[good].max())],
        "wavelengths": None if known is None else [float(known.min()), float(known.max())],
        "place": None if image.georeference is None else image.georeference.as_dict(),
        "metadata": dict(image.metadata),
        "anomalous_pixels": None if image.truth is None else int(np.count_nonzero(image.truth)),
        "notes": list(image.notes),
        "sha256": digest(image),
    }


def _shortened(text: str) -> str:
    return text if len(text) <= _LONG else f"{text[:_LONG]}..."


def _metrics(image: Scene, anomaly_map: np.ndarray) -> Metrics | None:
    if image.truth is None or np.unique(image.truth[image.valid]).size < 2:
        return None
    return metrics.evaluate(anomaly_map, image.truth)


def _versions() -> dict[str, str]:
    libraries = {name: metadata.version(name) for name in _LIBRARIES}
    return {"scoread-jax": __version__, "python": platform.python_version()} | libraries
