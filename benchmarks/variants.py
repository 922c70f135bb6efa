"""What a benchmark compares: a recipe of ours, a user's function, or a peer, behind one face."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import Peer
from scoread_jax import config, pipeline, plugins
from scoread_jax._version import __version__
from scoread_jax.config import Config
from scoread_jax.detect import Functions
from scoread_jax.scene import Scene


@dataclasses.dataclass(frozen=True)
class Variant:
    """A detector to be compared.

    Attributes:
        name: in tables.
        digest: of everything that decides its maps but scene and seed; a run is repeated only when it changes.
        seeds: for which it is run.
        detect: ``(scene, seeds) -> maps``, one [rows, cols] for each seed.
    """

    name: str
    digest: str
    seeds: tuple[int, ...]
    detect: Callable[[Scene, Sequence[int]], list[np.ndarray]]


def find(place: str, seeds: Sequence[int]) -> Variant:
    """The variant that a word on the command line means.

    Args:
        place: the name of a preset; a TOML file of values over the default preset, or over ``base = "PRESET"``, with
            a table ``[functions]`` of a user's own ``sde``, ``network``, ``statistic``, each ``FILE.py:NAME`` beside
            it; or ``FILE.py:NAME``, a whole detector ``(scene, seed) -> map [rows, cols]``.
        seeds: for which it is run.
    """
    if ".py:" in place:
        file, _, name = place.rpartition(":")
        # Most such functions start from the default, which their text does not show.
        digest = _digest(__version__, name, _content(file), _decides(config.load("default")))
        return Variant(name, digest, tuple(seeds), _one_by_one(plugins.load(place)))
    if not place.endswith(".toml"):
        return _of_recipe(place, config.load(place), {}, seeds)
    path = Path(place)
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    functions = {kind: str(path.parent / own) for kind, own in table.pop("functions", {}).items()}
    recipe = config.replace(config.load(table.pop("base", "default")), _flat(table))
    return _of_recipe(path.stem, recipe, functions, seeds)


def of_peer(name: str, peer: Peer, seeds: Sequence[int]) -> Variant:
    """A peer, for one seed where it draws no random numbers."""
    return Variant(name, _digest("peer", name), tuple(seeds) if peer.random else (seeds[0],), _one_by_one(peer.map))


def _of_recipe(name: str, recipe: Config, functions: dict[str, str], seeds: Sequence[int]) -> Variant:
    own = Functions(**{kind: plugins.load(place) for kind, place in functions.items()})

    def detect(image: Scene, seeds: Sequence[int]) -> list[np.ndarray]:
        return pipeline.detect_seeds(image, seeds, recipe, own)

    files = [place + _content(place.rpartition(":")[0]) for place in functions.values()]
    return Variant(name, _digest(__version__, _decides(recipe), files), tuple(seeds), detect)


def _decides(recipe: Config) -> dict[str, Any]:
    """What of a recipe decides a map, but the seed: values that are not those of ``Config()``.

    So a key that is added, and whose usual value changes nothing, leaves what is known of older recipes.
    """
    usual = _flat(config.as_table(Config()))
    values = _flat(config.as_table(recipe)) | {"seed": usual["seed"]}
    return {key: value for key, value in values.items() if value != usual[key]}


def _one_by_one(detect: Callable[[Scene, int], np.ndarray]) -> Callable[[Scene, Sequence[int]], list[np.ndarray]]:
    return lambda image, seeds: [detect(image, seed) for seed in seeds]


def _flat(table: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= {f"{key}.{name}": entry for name, entry in value.items()} if isinstance(value, dict) else {key: value}
    return flat


def _content(file: str) -> str:
    return Path(file).read_text(encoding="utf-8")


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
