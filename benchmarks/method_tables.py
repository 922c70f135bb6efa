"""The tables of the published recipe and networks, of other packages, of large objects and of false alarms."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.accuracy_tables import pick, seed_means, spread
from benchmarks.markdown import machine, table


def against_peers(result: dict[str, Any]) -> str:
    """Time and memory beside other packages."""
    methods = list(dict.fromkeys(run["method"] for run in result["runs"]))
    rows = []
    for method in methods:
        runs = pick(result["runs"], method=method)
        median = {name: np.median([run[name] for run in runs]) for name in ("seconds", "first_seconds", "megabytes")}
        mean = {name: np.mean([run[name] for run in runs]) for name in ("auc", "average_precision")}
        rows.append(
            [
                method,
                f"{len(runs)}",
                f"{median['seconds']:.2f}",
                f"{median['first_seconds']:.2f}",
                f"{median['megabytes']:.0f}",
                f"{mean['auc']:.4f} / {mean['average_precision']:.3f}",
            ]
        )
    header = ["medians over scenes", "scenes", "seconds", "seconds, first run", "MB beyond the start", "mean AUC / AP"]
    return "\n".join(
        [
            "",
            "## Time and memory against other packages",
            "",
            "`python -m benchmarks.against_peers`",
            "",
            table(header, rows),
            "",
            "Every run in a process of its own, one seed. Local RX with windows of 5 × 5 and 21 × 21.",
            "",
            machine(result["environment"]),
        ]
    )


def reproduce(result: dict[str, Any]) -> str:
    """The published recipe from scratch."""
    rows = []
    for scene, published in result["published"].items():
        runs = pick(result["runs"], scene=scene)
        rows.append(
            [
                scene,
                spread([run["metrics"]["auc"] for run in runs], 4),
                spread([run["metrics"]["average_precision"] for run in runs], 3),
                f"{published['metrics']['auc']:.4f}",
                f"{published['metrics']['average_precision']:.3f}",
                spread([run["pearson_with_published_map"] for run in runs], 3),
                spread([run["loss_last_epoch"] for run in runs], 3),
                f"{np.median([run['train_seconds'] for run in runs]):.0f}",
            ]
        )
    header = ["scene", "AUC", "AP", "published map: AUC", "AP", "correlation of the maps", "last loss", "seconds"]
    return "\n".join(
        [
            "",
            "## ScoreAD from scratch, by its published recipe",
            "",
            "`python -m benchmarks.reproduce`",
            "",
            table(header, rows),
            "",
            "Pavia's published map covers more than the public scene; its figures are for the part that both show,",
            "four pixels from the edges, ours for the whole scene. A published map is one seed and one draw of noise.",
            "",
            machine(result["runs"][0]["environment"]),
        ]
    )


def authors_networks(result: dict[str, Any]) -> str:
    """The authors' own networks."""
    rows = [
        [
            run["scene"],
            str(run["key"]),
            f"{run['metrics']['auc']:.4f}",
            f"{run['metrics']['average_precision']:.3f}",
            f"{run['mean_over_published']:.4f}",
            f"{run['pearson_sample']:.3f}",
            f"{run['pearson_whole']:.3f}",
        ]
        for run in result["runs"]
    ]
    header = ["scene", "key", "AUC", "AP", "mean / published mean", "correlation, sample", "correlation, whole"]
    return "\n".join(
        [
            "",
            "## The authors' networks in our code",
            "",
            "`python -m benchmarks.authors_networks`",
            "",
            table(header, rows),
            "",
            "K = 100, t = .05. The sample is all anomalous and 700 random background pixels. On the background the map",
            "is mostly noise of the K draws. Correlation and mean are over the pixels that both maps show.",
            "",
            machine(result["environment"]),
        ]
    )


def large_objects(result: dict[str, Any]) -> str:
    """Objects larger than the default supposes."""
    runs = result["runs"]
    methods, scenes = (list(dict.fromkeys(run[what] for run in runs)) for what in ("method", "scene"))
    rows = [
        [
            method,
            spread(seed_means(runs, method, scenes, "auc"), 4),
            spread(seed_means(runs, method, scenes, "average_precision"), 3),
        ]
        for method in methods
    ]
    return "\n".join(
        [
            "",
            "## Objects larger than supposed",
            "",
            "`python -m benchmarks.large_objects`",
            "",
            table(["detector", f"AUC, {len(scenes)} scenes", f"AP, {len(scenes)} scenes"], rows),
            "",
            f"Each of {', '.join(scenes)} at twice its resolution (spectra interpolated), so that its largest object "
            "has 104 to 176 pixels; `fusion.largest_object` of the default is 100.",
            "",
            machine(result["environment"]),
        ]
    )


def false_alarms(result: dict[str, Any]) -> str:
    """What false-alarm rates come to."""
    runs = result["runs"]
    asked = [rate["asked"] for rate in runs[0]["rates"]]
    rows = []
    for run in runs:
        cells = [f"{rate['realised']:.1e} ({rate['detection_rate']:.0%})" for rate in run["rates"]]
        rows.append([run["scene"], f"{run['anomalous_share']:.2%}", f"{run['tail_shape']:.2f}", *cells])
    medians = [f"{np.median([run['rates'][at]['realised'] for run in runs]):.1e}" for at in range(len(asked))]
    rows.append(["**median**", "", "", *medians])
    return "\n".join(
        [
            "",
            "## False-alarm rates asked for and realised",
            "",
            "`python -m benchmarks.false_alarms`",
            "",
            table(["scene", "anomalies", "shape of the tail", *(f"asked {rate:g}" for rate in asked)], rows),
            "",
            "The default's map, cut where the fitted tail of its own background leaves the rate asked for "
            "(`scoread threshold --false-alarm-rate`); realised on the background of the ground truth, in brackets the "
            "share of the anomalous pixels that is detected. Anomalies take part in the fit, so it errs on the careful "
            "side.",
            "",
            machine(result["environment"]),
        ]
    )
