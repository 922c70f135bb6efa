"""Turn every committed result into the tables of ``benchmarks/README.md``.

python -m benchmarks.tables
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import throughput_tables
from benchmarks.accuracy import COMPARED, SCENES
from benchmarks.common import RESULTS, mean_and_deviation, read_result
from benchmarks.markdown import machine, table
from scoread_jax.io import write_text

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


def main() -> None:
    """Write the page."""
    parts = [_INTRODUCTION]
    for name, section in (
        ("accuracy", _accuracy),
        ("reproduce", _reproduce),
        ("authors_networks", _authors_networks),
        ("against_peers", _against_peers),
        *((name, getattr(throughput_tables, name)) for name in _SPEED),
        ("false_alarms", _false_alarms),
    ):
        # What was made on an accelerator lies beside what was made on a CPU, under the device's name.
        for path in (RESULTS / f"{name}.json", *sorted(RESULTS.glob(f"{name}-*.json"))):
            result = read_result(path.stem)
            if result is not None:
                parts.append(section(result))
    write_text(RESULTS.parent / "README.md", "\n".join(parts) + "\n")
    accuracy = read_result("accuracy")
    if accuracy is not None:
        _replace_summary(RESULTS.parent.parent / "README.md", accuracy["runs"])


_SPEED = (
    "against_pytorch",
    "roofline",
    "score_scene",
    "train_epoch",
    "lowerings",
    "estimators",
    "sharding",
    "ensemble",
)

_INTRODUCTION = """# Benchmarks

Every table is made by `python -m benchmarks.tables` from the JSON under `results/`, and every JSON by the command above
its table. Scenes come from `SCOREAD_DATA_DIR`, the authors' published files from `SCOREAD_REFERENCE_DIR`. Figures are
AUC / AP unless said, mean ± sample standard deviation over seeds; ground truth is looked at when a map is final.
What was tried on the way to the default, with figures, is in [RESEARCH.md](RESEARCH.md).
"""


def _accuracy(result: dict[str, Any]) -> str:
    runs = result["runs"]
    methods = sorted({run["method"]: None for run in runs}, key=lambda method: method != "default")
    rows = []
    for scene in SCENES:
        rows.append([scene] + [_pair(_pick(runs, method=method, scene=scene)) for method in methods])
    for title, scenes in (("**mean of all**", SCENES), ("**mean of five**", FIVE)):
        rows.append([title] + [_mean_pair(runs, method, scenes) for method in methods])
    seconds = [f"{np.median([run['seconds'] for run in _pick(runs, method=m)]):.1f}" for m in methods]
    rows.append(["median seconds a scene", *seconds])
    ours = [_seed_means(runs, "default", FIVE, "auc")]
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
    rows = [[m, *(_spread(_seed_means(runs, m, SCENES, field), 4) for field in fields)] for m in methods]
    header = ["mean over all scenes", "partial AUC to 1 %", "AUC(D,τ)", "AUC(F,τ)", "TD", "BS", "OD"]
    return "\n".join([*lines, table(header, rows), "", "3-D ROC figures are of the map between 0 and 1, as it is."])


def _against_peers(result: dict[str, Any]) -> str:
    methods = list(dict.fromkeys(run["method"] for run in result["runs"]))
    rows = []
    for method in methods:
        runs = _pick(result["runs"], method=method)
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


def _replace_summary(page: Path, runs: list[dict[str, Any]]) -> None:
    """Put the means between the two marks in the project's README."""
    rows = [
        [
            method,
            _spread(_seed_means(runs, method, SCENES, "auc"), 4),
            _spread(_seed_means(runs, method, SCENES, "average_precision"), 3),
            _spread(_seed_means(runs, method, FIVE, "auc"), 4),
        ]
        for method in dict.fromkeys(run["method"] for run in sorted(runs, key=lambda run: run["method"] != "default"))
    ]
    best = sorted(PUBLISHED, key=lambda name: -np.mean(PUBLISHED[name]))[:2]
    rows += [[f"{name}, published", "–", "–", f"{np.mean(PUBLISHED[name]):.4f}"] for name in best]
    summary = table(["detector", "AUC, 11 scenes", "AP, 11 scenes", "AUC, 5 scenes of the literature"], rows)
    before, mark, rest = page.read_text(encoding="utf-8").partition(_TABLE_MARK)
    _, end, after = rest.partition(_END_MARK)
    write_text(page, f"{before}{mark}\n{summary}\n{end}{after}")


_TABLE_MARK, _END_MARK = "<!-- table: python -m benchmarks.tables -->", "<!-- end -->"


def _reproduce(result: dict[str, Any]) -> str:
    rows = []
    for scene, published in result["published"].items():
        runs = _pick(result["runs"], scene=scene)
        rows.append(
            [
                scene,
                _spread([run["metrics"]["auc"] for run in runs], 4),
                _spread([run["metrics"]["average_precision"] for run in runs], 3),
                f"{published['metrics']['auc']:.4f}",
                f"{published['metrics']['average_precision']:.3f}",
                _spread([run["pearson_with_published_map"] for run in runs], 3),
                _spread([run["loss_last_epoch"] for run in runs], 3),
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


def _authors_networks(result: dict[str, Any]) -> str:
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


def _false_alarms(result: dict[str, Any]) -> str:
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


def _pick(runs: Iterable[dict[str, Any]], **wanted: Any) -> list[dict[str, Any]]:
    return [run for run in runs if all(run[key] == value for key, value in wanted.items())]


def _pair(runs: list[dict[str, Any]]) -> str:
    if not runs:
        return "–"
    auc, _ = mean_and_deviation([run["metrics"]["auc"] for run in runs])
    precision, deviation = mean_and_deviation([run["metrics"]["average_precision"] for run in runs])
    return f"{auc:.4f} / {precision:.3f}" + (f" ± {deviation:.3f}" if len(runs) > 1 else "")


def _seed_means(runs: list[dict[str, Any]], method: str, scenes: Iterable[str], figure: str) -> list[float]:
    """The mean over scenes for each seed that has all of them."""
    by_seed: dict[int, list[float]] = {}
    for run in _pick(runs, method=method):
        if run["scene"] in scenes:
            by_seed.setdefault(run["seed"], []).append(run["metrics"][figure])
    return [float(np.mean(values)) for values in by_seed.values() if len(values) == len(list(scenes))]


def _mean_pair(runs: list[dict[str, Any]], method: str, scenes: tuple[str, ...]) -> str:
    auc = _seed_means(runs, method, scenes, "auc")
    precision = _seed_means(runs, method, scenes, "average_precision")
    return f"**{_spread(auc, 4)} / {_spread(precision, 3)}**" if auc else "–"


def _five_row(runs: list[dict[str, Any]]) -> list[str]:
    return [_spread([run["metrics"]["auc"] for run in _pick(runs, method="default", scene=s)], 4) for s in FIVE]


def _spread(values: list[float], digits: int) -> str:
    mean, deviation = mean_and_deviation(values)
    return f"{mean:.{digits}f}" + (f" ± {deviation:.{digits}f}" if len(values) > 1 else "")


if __name__ == "__main__":
    main()
