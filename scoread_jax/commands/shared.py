"""Steps that several commands take: from options to configuration and scene, and what is told to the user."""

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
from scoread_jax.commands.options import overrides
from scoread_jax.config import Config
from scoread_jax.errors import ScoreADError

if TYPE_CHECKING:
    import numpy as np

    from scoread_jax.detect import Detector
    from scoread_jax.execution import Execution
    from scoread_jax.keep import Keeper
    from scoread_jax.results import Draw, Output
    from scoread_jax.scene import Scene
    from scoread_jax.train import Progress


DISTRIBUTED = (
    "Several machines: the same command in each process; the first one writes. "
    "SLURM: srun --ntasks=4 scoread ... --distributed. "
    'TPU pod: gcloud compute tpus tpu-vm ssh NAME --worker=all --command="scoread ... --distributed". '
    "Elsewhere: --distributed --coordinator HOST:PORT --processes N --process-id I."
)


def config(options: argparse.Namespace) -> Config:
    """The preset that was asked for, with the values that were given in its place."""
    return configuration.replace(configuration.load(options.config), overrides(options))


def scene(options: argparse.Namespace) -> Scene:
    """Read the scene that was asked for: a file, or a public one by name."""
    from scoread_jax import bands, datasets
    from scoread_jax.group import ALONE
    from scoread_jax.io import read_scene

    asked: str = options.scene
    keep, drop = bands.parse_bands(options.bands), bands.parse_wavelengths(options.drop_wavelengths)
    selection = bands.Selection(keep, drop, options.auto_bad_bands)
    if not os.path.exists(asked) and asked in datasets.names():
        if any((options.truth, options.mask, options.cube_var, options.truth_var, options.mask_var)):
            raise ScoreADError(
                f"{asked}: expected the name of a public scene alone, found options that choose its truth, mask or "
                "variables; leave them out, or give a file instead of the name"
            )
        return datasets.load(asked, selection)
    if not os.path.exists(asked) and not Path(asked).suffix:
        near = difflib.get_close_matches(asked, datasets.names(), n=1)
        hint = f"did you mean {near[0]}?" if near else f"the names are {', '.join(datasets.names())}"
        raise ScoreADError(f"{asked}: expected a file or the name of a public scene, found neither; {hint}")
    group = ALONE
    if options.together and options.distributed:
        from scoread_jax import parallel

        group = parallel.group()
    return read_scene(
        asked, cube_var=options.cube_var, truth_var=options.truth_var, truth_path=options.truth,
        mask_path=options.mask, mask_var=options.mask_var, selection=selection, group=group,
    )  # fmt: skip


def detector(options: argparse.Namespace) -> tuple[Detector, str]:
    """Load the detector that was asked for, with the values that were given in place of its own; and its digest."""
    from scoread_jax import checkpoint, export

    given = overrides(options)
    if export.is_exported(options.detector):
        found, identity = export.load(options.detector)
        fixed = [key for key in given if key.startswith("detect.")]
        if fixed:
            raise ScoreADError(
                f"{options.detector}: expected a detector's directory where --{fixed[0]} is given, found an exported "
                "one, in which it is fixed; leave it out"
            )
    else:
        found, identity = checkpoint.load(options.detector), checkpoint.identity(options.detector)
    return dataclasses.replace(found, config=configuration.replace(found.config, given)), identity


def writable(folder: str | Path, option: str = "--out") -> Path:
    """Refuse a place that cannot be written before minutes are spent, and leave nothing there yet."""
    folder = Path(folder)
    nearest = next(place for place in (folder, *folder.absolute().parents) if os.path.exists(place))
    if not nearest.is_dir():
        raise ScoreADError(f"{folder}: expected a directory, found that {nearest} is a file; choose another {option}")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ScoreADError(
            f"{folder}: expected a place to write to, found that {nearest} is read-only; choose another {option}"
        )
    return folder


def output(options: argparse.Namespace, image: Scene) -> Output:
    """Decide what is written where, and refuse before minutes are spent what cannot be written."""
    import tempfile

    import numpy as np

    from scoread_jax import results
    from scoread_jax.io import WRITERS, write_map

    out = options.out or Path(f"{image.name}-scoread")
    if out.suffix.lower() in WRITERS and not options.format:
        planned = results.Output(out.parent, (out,), whole=False)
    else:
        planned = results.in_folder(out, image.georeference, options.format)
    writable(planned.folder)
    source = Path(image.source)
    for path in planned.maps:
        if files_of(path) & (files_of(source) | {source.absolute()}):
            raise ScoreADError(f"{path}: expected another file than the scene's own; choose another --out")
    with tempfile.TemporaryDirectory() as rehearsal:
        for path in planned.maps:
            write_map(Path(rehearsal, path.name), np.full(image.valid.shape, np.nan, np.float32), image.georeference)
    return planned


def files_of(path: Path) -> set[Path]:
    """A file, and the header that ENVI's files have."""
    path = path.absolute()
    return {path, path.with_suffix(".hdr")} if path.suffix.lower() in (".img", ".dat", ".hdr") else {path}


def finish(
    options: argparse.Namespace,
    output: Output,
    image: Scene,
    anomaly_map: np.ndarray,
    recipe: Config,
    begin: float,
    draw: Draw,
    detector: str = "",
) -> None:
    """Write everything and say so; where several processes run together, the first one does.

    The record tells what the map took since ``begin``, of ``time.perf_counter``; what is said, what all took.
    """
    from scoread_jax import metrics, parallel, results

    if parallel.process_index() > 0:
        return
    seconds = time.perf_counter() - begin
    record, found = results.write(output, image, anomaly_map, recipe, seconds, detector, draw)
    first, *others = [*output.maps, *map(Path, results.BESIDE)] if output.whole else output.maps
    summary = f"done in {time.perf_counter() - begin:.0f} s: {', '.join([str(first), *(path.name for path in others)])}"
    if found is not None:
        summary = f"{metrics.format_table(found)}\n{summary}"
    result(options, record | {"folder": str(output.folder)}, summary)


@contextlib.contextmanager
def drawing(options: argparse.Namespace, output: Output, image: Scene) -> Iterator[Draw]:
    """Have ``finish``'s figures drawn beside other work, where there are any and memory is not counted."""
    from scoread_jax import parallel, results

    if not output.whole or options.max_memory is not None or parallel.process_index() > 0:
        yield results.draw
        return
    with results.drawn_beside(image) as draw:
        yield draw


def meet(options: argparse.Namespace) -> None:
    """Where several processes are to run together: wait for the others. Only the first one speaks."""
    from scoread_jax import parallel

    if not options.distributed:
        if options.coordinator or options.processes or options.process_id is not None:
            raise ScoreADError(
                "--coordinator, --processes and --process-id expect --distributed beside them, found none"
            )
        return
    parallel.use_all_cores()
    if parallel.join(options.coordinator, options.processes, options.process_id).number > 0:
        options.quiet, options.track = True, None


def prepare_devices(options: argparse.Namespace, share: tuple[int, int] = (0, 1)) -> None:
    """Before the first computation: devices cannot be added later."""
    from scoread_jax import parallel

    parallel.use_all_cores()
    parallel.use_compile_cache()
    parallel.use_devices(options.device, options.devices, options.strategy, share)


def say(options: argparse.Namespace, text: str) -> None:
    """Tell something on stderr, unless the user wants it quiet."""
    if not options.quiet:
        print(text, file=sys.stderr, flush=True)


def result(options: argparse.Namespace, record: Any, text: str) -> None:
    """Print the result: as JSON where asked, else as text."""
    print(json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) if options.json else text)


def execution(options: argparse.Namespace) -> Execution:
    """The memory and rows that were asked for, told about on stderr."""
    from scoread_jax.execution import Execution, parse_bytes

    memory = None if options.max_memory is None else parse_bytes(options.max_memory)
    return Execution(memory, options.block_rows, None if options.quiet else _Stages())


@contextlib.contextmanager
def kept(options: argparse.Namespace, out: Path, log_to: Path | None = None) -> Iterator[Keeper]:
    """Keep a run as it goes, and let no other one work at the same place; once all is written, it is kept no more.

    The log of its training lies with it, and at the end in the folder ``log_to`` too. Of several processes that run
    together the first one writes it, holds the place, and is the last to leave.
    """
    import numpy as np

    from scoread_jax import interrupt, parallel, tracking
    from scoread_jax.checkpoint import Run
    from scoread_jax.io import write_text

    folder = options.resume or out.with_name(f"{out.name}.run")
    group = parallel.group()
    with contextlib.ExitStack() as stack:
        if group.number == 0:
            for place in (out, folder):
                stack.enter_context(alone(place))
        run = Run(folder, options.save_every, options.resume is None, lambda text: say(options, text))
        if options.resume is None and run.stopped:
            say(options, f"{folder} holds a run that was stopped; with --resume {folder} this one would go on with it")
        if group.of > 1:  # one that stopped where nothing can be kept would leave the others waiting
            run.stop = stack.enter_context(interrupt.deferred())
        yield run
        if group.number == 0 and log_to is not None and (folder / tracking.FILE).exists():
            write_text(log_to / tracking.FILE, (folder / tracking.FILE).read_text(encoding="utf-8"))
        group.gather(np.zeros(()))  # until the first one has written everything
        run.finished(keep_training=options.resume is not None)


@contextlib.contextmanager
def alone(place: Path) -> Iterator[None]:
    """Refuse to work where another run does."""
    from scoread_jax.io import lock

    place = Path(os.path.realpath(place))
    with lock(place.with_name(f".{place.name}.lock")) as held:
        if not held:
            raise ScoreADError(
                f"{place}: expected no other run there, found one at work; wait for its end, or choose another place"
            )
        yield


class _Stages:
    """Tells how far a scene of several blocks is: a bar on a terminal, else a line now and then."""

    def __init__(self) -> None:
        self.bar: Any = None
        self.shown = time.monotonic()

    def __call__(self, stage: str, done: int, whole: int) -> None:
        if sys.stderr.isatty():
            from tqdm import tqdm

            if self.bar is None:
                self.bar = tqdm(desc=stage, total=whole, unit="pixel", unit_scale=True, file=sys.stderr, leave=False)
            self.bar.update(done - self.bar.n)
            if done == whole:
                self.bar.close()
                self.bar = None
        elif done < whole and time.monotonic() - self.shown > 30:
            self.shown = time.monotonic()
            print(f"{stage}: {100 * done // whole} % of {whole} pixels", file=sys.stderr, flush=True)


@contextlib.contextmanager
def progress(options: argparse.Namespace, keeper: Keeper, then: str = "") -> Iterator[Callable[[Progress], None]]:
    """Tell how training goes: on stderr, where the run is kept, and in the folder of ``--track``."""
    from scoread_jax import tracking

    with _told(options, then) as callback:
        logs = [] if keeper.log_folder is None else [tracking.json_lines(keeper.log_folder)]
        if options.track is not None:
            logs.append(tracking.in_folder(writable(options.track, "--track")))
        yield tracking.every(callback, *logs)


@contextlib.contextmanager
def _told(options: argparse.Namespace, then: str) -> Iterator[Callable[[Progress], None]]:
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
                say(options, f"training: epoch {progress.epoch} of {progress.epochs}, loss {progress.loss:.4g}")
            if progress.epoch == progress.epochs and then:
                say(options, then)

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
