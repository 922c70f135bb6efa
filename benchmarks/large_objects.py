"""Objects of more than a hundred pixels: public scenes at twice their resolution, by the default and by other settings.

    python -m benchmarks.large_objects [--device cpu|gpu|tpu] [--seeds 0 1 2] [--quick]

The scenes whose largest object has more than 25 pixels, enlarged twofold along rows and columns: spectra interpolated
linearly, the truth repeated. What the default supposes of an object's size is then wrong; the rows say what that costs,
and what helps. A quarter of an hour on two CPU cores.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

from benchmarks import timing
from benchmarks.common import environment, write_result
from benchmarks.peers import PEERS
from benchmarks.variants import of_peer
from scoread_jax import config, datasets, metrics, pipeline, scene
from scoread_jax.scene import Scene

SCENES = ("los-angeles-1", "los-angeles-2", "gulfport", "salinas-implants-14", "salinas-implants-4")
SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "fusion.keep_large = 0": {"fusion.keep_large": 0.0},
    "fusion.largest_object = 400": {"fusion.largest_object": 400},
    "fusion.largest_object = 0": {"fusion.largest_object": 0},
}
OTHERS = ("ridge RX", "k-NN")


def main() -> None:
    parser = timing.parser(__doc__, rounds=None)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options = timing.prepared(parser)
    names, fewer = (SCENES[:1], {"train.steps": 20}) if options.quick else (SCENES, {})
    settings = dict(list(SETTINGS.items())[:1]) if options.quick else SETTINGS
    seeds = options.seeds[:1] if options.quick else options.seeds
    runs: list[dict[str, Any]] = []
    for name in names:
        image = enlarged(datasets.load(name))
        maps = {
            told: pipeline.detect_seeds(image, seeds, config.replace(config.load("default"), setting | fewer))
            for told, setting in settings.items()
        }
        for other in OTHERS:
            peer = of_peer(other, PEERS[other], seeds)
            maps[other] = peer.detect(image, peer.seeds)
        assert image.truth is not None  # first looked at when the maps are final
        for told, found in maps.items():
            figures = [metrics.evaluate(one, image.truth).as_dict() for one in found]
            runs += [
                {"method": told, "scene": name, "seed": seed, "metrics": one}
                for seed, one in zip(seeds, figures, strict=False)
            ]
            print(f"{name}  {told}: " + ", ".join(f"{f['auc']:.4f} / {f['average_precision']:.3f}" for f in figures))
        if not options.quick:
            write_result("large_objects", {"environment": environment(), "runs": runs})


def enlarged(image: Scene) -> Scene:
    """A scene with each pixel as 2 × 2."""
    assert image.truth is not None
    cube = ndimage.zoom(np.asarray(image.cube, np.float32), (2, 2, 1), order=1)
    around = np.ones((2, 2), bool)
    return scene.make_scene(
        cube,
        truth=np.kron(image.truth, around),
        mask=np.kron(image.valid, around),
        good_bands=image.good_bands,
        name=image.name,
        source=f"{image.source}, enlarged",
    )


if __name__ == "__main__":
    main()
