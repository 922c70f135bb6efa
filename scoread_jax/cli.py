"""The command line: ``scoread detect SCENE`` and its parts.

Heavy modules are imported by the command that needs them, so that help is instant. Errors that the user can mend are
one sentence on stderr and exit code 2.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import difflib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scoread_jax import config as configuration
from scoread_jax.arguments import overrides, parse
from scoread_jax.config import Config
from scoread_jax.errors import ScoreADError

if TYPE_CHECKING:
    import numpy as np

    from scoread_jax.detect import Functions
    from scoread_jax.scene import Scene
    from scoread_jax.train import Progress


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: without the program's name; ``sys.argv[1:]`` where None.

    Returns:
        The exit code: 0 done, 2 an error that the user can mend, 130 interrupted.
    """
    try:
        options = parse(arguments)
        _COMMANDS[options.command](options)
    except ScoreADError as error:
        print(f"scoread: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("scoread: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def detect(options: argparse.Namespace) -> None:
    """Train on a scene, score it, write everything."""
    recipe, image = _config(options), _scene(options)
    folder = _writable(options.out or f"{image.name}-scoread")
    from scoread_jax import pipeline, results

    _say(options, results.describe(image))
    _prepare_devices()
    functions = _functions(options)
    start = time.perf_counter()
    with _progress(options, then="scoring") as callback:
        _, anomaly_map = pipeline.detect(image, recipe, callback, functions)
    _finish(options, folder, image, anomaly_map, recipe, time.perf_counter() - start)


def train(options: argparse.Namespace) -> None:
    """Train on a scene and keep the detector."""
    recipe, image = _config(options), _scene(options)
    from scoread_jax import checkpoint, pipeline, results

    checkpoint.check_target(_writable(options.out))
    _say(options, results.describe(image))
    _prepare_devices()
    with _progress(options) as callback:
        detector = pipeline.fit(image, recipe, callback)
    checkpoint.save(options.out, detector)
    summary = f"detector: {options.out}\nnext:     scoread score SCENE -d {options.out}"
    _result(options, {"detector": str(options.out)}, summary)


def score(options: argparse.Namespace) -> None:
    """Score a scene with a detector trained before."""
    from scoread_jax import checkpoint, pipeline, results

    _prepare_devices()
    detector = checkpoint.load(options.detector)
    recipe = configuration.replace(detector.config, overrides(options))
    image = _scene(options)
    folder = _writable(options.out or f"{image.name}-scoread")
    _say(options, results.describe(image))
    _say(options, "scoring")
    start = time.perf_counter()
    anomaly_map = pipeline.score(dataclasses.replace(detector, config=recipe), image)
    _finish(options, folder, image, anomaly_map, recipe, time.perf_counter() - start)


def evaluate(options: argparse.Namespace) -> None:
    """Print figures of merit of a map."""
    from scoread_jax import metrics
    from scoread_jax.io import read_map, read_truth

    anomaly_map = read_map(options.map, options.map_var)
    truth = read_truth(options.truth, options.truth_var)
    found = metrics.evaluate(anomaly_map, truth)
    _result(options, found.as_dict(), metrics.format_table(found))


def info(options: argparse.Namespace) -> None:
    """Print what a file holds, or which public scenes there are."""
    from scoread_jax import datasets

    if options.list:
        lines = {name: datasets.info(name) for name in datasets.names()}
        _result(options, lines, "\n".join(f"{name:<22}{line}" for name, line in lines.items()))
        return
    if options.scene is None:
        raise ScoreADError("info expects a SCENE, or --list for the public ones")
    image = _scene(options)
    from scoread_jax import results

    _result(options, results.scene_record(image), results.describe(image))


def import_weights(options: argparse.Namespace) -> None:
    """Turn the authors' PyTorch state dict into a detector."""
    from scoread_jax import checkpoint, weights
    from scoread_jax.detect import Detector

    recipe = _config(options)
    if recipe.view.kind != "identity" or recipe.network.precondition != "over_std":
        raise ScoreADError(f"--config {options.config}: expected a recipe as published (scoread-*), found another")
    checkpoint.check_target(_writable(options.out))
    state, conditional = weights.read_state_dict(options.file), recipe.context.conditional
    imported = weights.from_state_dict(state, conditional=conditional, source=str(options.file))
    network = dataclasses.replace(recipe.network, name="unet1d", **imported.sizes)
    detector = Detector(dataclasses.replace(recipe, network=network), imported.variables, imported.bands)
    checkpoint.save(options.out, detector)
    kind = f"{imported.bands} bands, {'conditional' if conditional else 'unconditional'}"
    summary = f"detector: {options.out} ({kind})\nnext:     scoread score SCENE -d {options.out}"
    _result(options, {"detector": str(options.out), "bands": imported.bands}, summary)


def _config(options: argparse.Namespace) -> Config:
    return configuration.replace(configuration.load(options.config), overrides(options))


def _functions(options: argparse.Namespace) -> Functions:
    from scoread_jax import plugins
    from scoread_jax.detect import Functions
    from scoread_jax.sde import SDE

    found = {name: plugins.load(place) for name in Functions._fields if (place := getattr(options, name)) is not None}
    if "sde" in found and not isinstance(found["sde"], SDE):
        raise ScoreADError(
            f"--sde {options.sde}: expected a process such as GaussianSDE(scale, std), found {found['sde']!r}"
        )
    for name in ("network", "statistic"):
        if name in found and not callable(found[name]):
            raise ScoreADError(f"--{name} {getattr(options, name)}: expected a function, found {found[name]!r}")
    return Functions(**found)


def _scene(options: argparse.Namespace) -> Scene:
    from scoread_jax import datasets
    from scoread_jax.io import read_scene

    asked: str = options.scene
    if not os.path.exists(asked) and asked in datasets.names():
        if any((options.truth, options.mask, options.cube_var, options.truth_var, options.mask_var)):
            raise ScoreADError(
                f"{asked}: expected the name of a public scene alone, found options that choose its truth, mask or "
                "variables; leave them out, or give a file instead of the name"
            )
        return datasets.load(asked)
    if not os.path.exists(asked) and not Path(asked).suffix:
        near = difflib.get_close_matches(asked, datasets.names(), n=1)
        hint = f"did you mean {near[0]}?" if near else f"the names are {', '.join(datasets.names())}"
        raise ScoreADError(f"{asked}: expected a file or the name of a public scene, found neither; {hint}")
    return read_scene(
        asked, cube_var=options.cube_var, truth_var=options.truth_var, truth_path=options.truth,
        mask_path=options.mask, mask_var=options.mask_var,
    )  # fmt: skip


def _writable(folder: str | Path) -> Path:
    """Refuse a place that cannot be written before minutes are spent, and leave nothing there yet."""
    folder = Path(folder)
    nearest = next(place for place in (folder, *folder.absolute().parents) if os.path.exists(place))
    if not nearest.is_dir():
        raise ScoreADError(f"{folder}: expected a directory, found that {nearest} is a file; choose another --out")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ScoreADError(
            f"{folder}: expected a place to write to, found that {nearest} is read-only; choose another --out"
        )
    return folder


def _finish(
    options: argparse.Namespace, folder: Path, image: Scene, anomaly_map: np.ndarray, recipe: Config, seconds: float
) -> None:
    """Write everything and say so."""
    from scoread_jax import metrics, results

    record, found = results.write(folder, image, anomaly_map, recipe, seconds)
    summary = f"done in {seconds:.0f} s: {folder / results.FILES[0]}, {', '.join(results.FILES[1:])}"
    if found is not None:
        summary = f"{metrics.format_table(found)}\n{summary}"
    _result(options, record | {"folder": str(folder)}, summary)


def _prepare_devices() -> None:
    """Before the first computation: devices cannot be added later."""
    from scoread_jax import parallel

    parallel.use_all_cores()
    parallel.use_compile_cache()


def _say(options: argparse.Namespace, text: str) -> None:
    if not options.quiet:
        print(text, file=sys.stderr, flush=True)


def _result(options: argparse.Namespace, record: Any, text: str) -> None:
    print(json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) if options.json else text)


@contextlib.contextmanager
def _progress(options: argparse.Namespace, then: str = "") -> Iterator[Callable[[Progress], None]]:
    """A bar on stderr when that is a terminal, a line now and then when it is a log; and what comes ``then``."""
    if options.quiet:
        yield lambda progress: None
        return
    if not sys.stderr.isatty():
        shown = time.monotonic()

        def line(progress: Progress) -> None:
            nonlocal shown
            if progress.epoch == progress.epochs or time.monotonic() - shown > 30:
                shown = time.monotonic()
                _say(options, f"training: epoch {progress.epoch} of {progress.epochs}, loss {progress.loss:.4g}")
            if progress.epoch == progress.epochs and then:
                _say(options, then)

        yield line
        return
    from tqdm import tqdm

    with tqdm(desc="training", unit="epoch", file=sys.stderr, leave=False) as bar:

        def advance(progress: Progress) -> None:
            bar.total = progress.epochs
            bar.set_postfix_str(f"loss {progress.loss:.4g}", refresh=False)
            bar.update(progress.epoch - bar.n)
            if progress.epoch == progress.epochs and then:
                bar.set_description(then)

        yield advance


_COMMANDS = {
    "detect": detect,
    "train": train,
    "score": score,
    "evaluate": evaluate,
    "info": info,
    "import-weights": import_weights,
}

if __name__ == "__main__":
    sys.exit(main())
