"""The tables of accuracy on every scene, and the published figures that they are held against."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from benchmarks.accuracy import COMPARED, SCENES
from benchmarks.common import mean_and_deviation
from benchmarks.markdown import machine, table

FIVE = ("los-angeles-1", "los-angeles-2", "gulfport", "texas-coast", "cat-island")

# AUC on the same five files, as printed in the README of github.com/Tanishq251/SM-HAD (doi 10.1109/TGRS.2026.3676658).
PUBLISHED = {
    "RX": (0.8221, 0.8404, 0.9526, 0.9907, 0.9807),
    "2S-GLRT": (0.9236, 0.9873, 0.9183, 0.9970, 0.9995),
    "MsRFQFT": (0.9114, 0.9798, 0.9945, 0.9953, 0.9798),
    "KIFD": (0.9359, 0.9775, 0.9728, 0.9303, 0.9900),
    "CRD": (0.9212, 0.9681, 0.9445, 0.9940, 0.9946),
    "GTVLRR": (0.9004, 0.8840, 0.9874, 0.9478, 0.9694),
    "PTA": (0.8809, 0.9104, 0.9946, 0.9757, 0.9831),
    "PCA-TLRSR": (0.9455, 0.9664, 0.9930, 0.9923, 0.9854),
    "LREN": (0.7327, 0.9134, 0.8293, 0.9783, 0.9343),
    "BS3LNet": (0.8550, 0.8424, 0.9467, 0.9583, 0.9847),
    "DirectNet": (0.8917, 0.8912, 0.9598, 0.9896, 0.9841),
    "PUNNet": (0.8755, 0.9056, 0.9652, 0.9819, 0.9792),
    "Auto-AD": (0.9207, 0.9063, 0.9672, 0.9909, 0.9783),
    "PDBSNet": (0.9005, 0.9100, 0.9905, 0.9913, 0.9926),
    "NL2Net": (0.9235, 0.9209, 0.9876, 0.9702, 0.9914),
    "GT-HAD": (0.9515, 0.9666, 0.9888, 0.9969, 0.9984),
    "HTD-Mamba": (0.9465, 0.9942, 0.9978, 0.9961, 0.9907),
    "SGLNet": (0.9377, 0.9844, 0.9915, 0.9905, 0.9952),
    "SM-HAD (best of 3 seeds)": (0.9793, 0.9833, 0.9929, 0.9982, 0.9996),
}


_MEANINGS = {
    "spectra_alone": "the default on a table of spectra, without their places (`scoread_jax.ScoreAD`)",
    "scoread-hydice": "ScoreAD by the recipe published for HYDICE",
}


def accuracy(result: dict[str, Any]) -> str:
    """Every scene, one configuration; and whether a difference is more than noise."""
    runs = result["runs"]
    methods = sorted({run["method"]: None for run in runs}, key=lambda method: method != "default")
    rows = []
    for scene in SCENES:
        rows.append([scene] + [_pair(pick(runs, method=method, scene=scene)) for method in methods])
    for title, scenes in (("**mean of all**", SCENES), ("**mean of five**", FIVE)):
        rows.append([title] + [_mean_pair(runs, method, scenes) for method in methods])
    seconds = [f"{np.median([run['seconds'] for run in pick(runs, method=m)]):.1f}" for m in methods]
    rows.append(["median seconds a scene", *seconds])
    ours = [seed_means(runs, "default", FIVE, "auc")]
    five = [[f"**default** ({len(ours[0])} seeds)", *_five_row(runs), f"**{np.mean(ours[0]):.4f}**"]]
    five += [[name, *(f"{auc:.4f}" for auc in aucs), f"{np.mean(aucs):.4f}"] for name, aucs in PUBLISHED.items()]
    five.sort(key=lambda row: -float(row[-1].strip("*")))
    return "\n".join(
        [
            "## Every scene, one configuration",
            "",
            "`python -m benchmarks.accuracy`",
            "",
            table(["scene", *methods], rows),
            "",
            *(f"*{method}*: {meaning}.\n" for method, meaning in _MEANINGS.items() if method in methods),
            "The five scenes are those on which the literature's figures are for the very same files:",
            "",
            table(["AUC", *FIVE, "mean"], five),
            "",
            "Figures of the others as printed in the README of github.com/Tanishq251/SM-HAD "
            "(doi 10.1109/TGRS.2026.3676658).",
            "",
            machine(result["environment"]),
            *([_comparison(result)] if "comparison" in result else []),
        ]
    )


def _comparison(result: dict[str, Any]) -> str:
    """Which differences are more than noise, and the figures that the first table leaves out."""
    runs, lines = result["runs"], ["", "### Is it noise?", ""]
    for field, title in COMPARED.items():
        found = result["comparison"][field]
        ranks = found["ranks"]
        rows = [
            [
                one["method"],
                f"{one['mean']:+.4f}",
                f"{one['low']:+.4f} … {one['high']:+.4f}",
                f"{one['wins']} : {one['losses']}",
                one["verdict"],
                f"{ranks['mean'][one['method']]:.2f}" if ranks else "–",
            ]
            for one in found["differences"]
        ]
        header = [title, f"less {found['reference']}", "95 % interval", "scenes won : lost", "verdict", "mean rank"]
        lines += [table(header, rows), ""]
        if ranks:
            lines += [
                f"Mean rank of {found['reference']}: {ranks['mean'][found['reference']]:.2f}; two ranks that differ by "
                f"less than {ranks['critical_difference']:.2f} are not told apart (Nemenyi's test at 5 %).",
                "",
            ]
    lines += [
        "Intervals are those of a paired bootstrap over scenes, and over seeds within them.",
        "",
        "![differences of the average precision](results/accuracy-forest.png)",
        "",
        "![mean ranks by average precision](results/accuracy-ranks.png)",
        "",
    ]
    methods = list(dict.fromkeys(run["method"] for run in runs))
    fields = ("partial_auc_1pct", "auc_d_tau", "auc_f_tau", "auc_td", "auc_bs", "auc_od")
    rows = [[m, *(spread(seed_means(runs, m, SCENES, field), 4) for field in fields)] for m in methods]
    header = ["mean over all scenes", "partial AUC to 1 %", "AUC(D,τ)", "AUC(F,τ)", "TD", "BS", "OD"]
    return "\n".join([*lines, table(header, rows), "", "3-D ROC figures are of the map between 0 and 1, as it is."])


def summary(runs: list[dict[str, Any]]) -> str:
    """The means over scenes, for the project's README."""
    rows = [
        [
            method,
            spread(seed_means(runs, method, SCENES, "auc"), 4),
            spread(seed_means(runs, method, SCENES, "average_precision"), 3),
            spread(seed_means(runs, method, FIVE, "auc"), 4),
        ]
        for method in dict.fromkeys(run["method"] for run in sorted(runs, key=lambda run: run["method"] != "default"))
    ]
    best = sorted(PUBLISHED, key=lambda name: -np.mean(PUBLISHED[name]))[:2]
    rows += [[f"{name}, published", "–", "–", f"{np.mean(PUBLISHED[name]):.4f}"] for name in best]
    return table(["detector", "AUC, 11 scenes", "AP, 11 scenes", "AUC, 5 scenes of the literature"], rows)


def pick(runs: Iterable[dict[str, Any]], **wanted: Any) -> list[dict[str, Any]]:
    """The runs whose fields have these values."""
    return [run for run in runs if all(run[key] == value for key, value in wanted.items())]


def _pair(runs: list[dict[str, Any]]) -> str:
    if not runs:
        return "–"
    auc, _ = mean_and_deviation([run["metrics"]["auc"] for run in runs])
    precision, deviation = mean_and_deviation([run["metrics"]["average_precision"] for run in runs])
    return f"{auc:.4f} / {precision:.3f}" + (f" ± {deviation:.3f}" if len(runs) > 1 else "")


def seed_means(runs: list[dict[str, Any]], method: str, scenes: Iterable[str], figure: str) -> list[float]:
    """The mean over scenes for each seed that has all of them."""
    by_seed: dict[int, list[float]] = {}
    for run in pick(runs, method=method):
        if run["scene"] in scenes:
            by_seed.setdefault(run["seed"], []).append(run["metrics"][figure])
    return [float(np.mean(values)) for values in by_seed.values() if len(values) == len(list(scenes))]


def _mean_pair(runs: list[dict[str, Any]], method: str, scenes: tuple[str, ...]) -> str:
    auc = seed_means(runs, method, scenes, "auc")
    precision = seed_means(runs, method, scenes, "average_precision")
    return f"**{spread(auc, 4)} / {spread(precision, 3)}**" if auc else "–"


def _five_row(runs: list[dict[str, Any]]) -> list[str]:
    return [spread([run["metrics"]["auc"] for run in pick(runs, method="default", scene=s)], 4) for s in FIVE]


def spread(values: list[float], digits: int) -> str:
    """Mean ± sample standard deviation, of several values."""
    mean, deviation = mean_and_deviation(values)
    return f"{mean:.{digits}f}" + (f" ± {deviation:.{digits}f}" if len(values) > 1 else "")
