"""How well a threshold for a false-alarm rate meets that rate, on the default's maps of the scenes with ground truth.

    python -m benchmarks.false_alarms [--device cpu|gpu|tpu] [--scenes hydice …] [--rates 0.01 …] [--quick]

The threshold sees the whole map, anomalies included, and no ground truth; the realised rate is then counted on the
background of the ground truth. About ten seconds a scene on two CPU cores.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks import timing
from benchmarks.accuracy import SCENES
from benchmarks.common import environment, write_result
from scoread_jax import config, datasets, pipeline, threshold


def realised(anomaly_map: np.ndarray, truth: np.ndarray, rates: list[float]) -> list[dict[str, float]]:
    """For each rate: the threshold, the rate on the background, and how much of the anomalies is detected."""
    scored = ~np.isnan(anomaly_map)
    background, anomalies = anomaly_map[scored & ~truth], anomaly_map[scored & truth]
    rows = []
    for rate in rates:
        cut = threshold.by_false_alarm_rate(anomaly_map, rate)
        rows.append(
            {
                "asked": rate,
                "threshold": cut,
                "realised": float(np.mean(background >= cut)),
                "detection_rate": float(np.mean(anomalies >= cut)),
            }
        )
    return rows


def main() -> None:
    parser = timing.parser(__doc__, rounds=None)
    parser.add_argument("--scenes", nargs="+", choices=SCENES, default=list(SCENES))
    parser.add_argument("--rates", nargs="+", type=float, default=[1e-2, 3e-3, 1e-3])
    options = timing.prepared(parser)
    recipe = config.load("default")
    if options.quick:
        options.scenes, recipe = options.scenes[:1], config.replace(recipe, {"train.steps": 20})
    runs: list[dict[str, Any]] = []
    for name in options.scenes:
        image = datasets.load(name)
        _, anomaly_map = pipeline.detect(image, recipe)
        assert image.truth is not None  # first looked at when the map is final
        tail = threshold.fit_tail(anomaly_map)
        rows = realised(anomaly_map, image.truth, options.rates)
        runs.append(
            {
                "scene": name,
                "background_pixels": int(np.count_nonzero(~np.isnan(anomaly_map) & ~image.truth)),
                "anomalous_share": float(np.mean(image.truth[image.valid])),
                "tail_shape": tail.shape,
                "rates": rows,
            }
        )
        figures = ", ".join(f"{row['asked']:g}: {row['realised']:.5f}" for row in rows)
        print(f"{name}: {figures}", flush=True)
        if not options.quick:
            write_result("false_alarms", {"environment": environment(), "runs": runs})


if __name__ == "__main__":
    main()
