"""The tables of speed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from benchmarks.accuracy_tables import spread
from benchmarks.markdown import machine, table


def end_to_end(result: dict[str, Any]) -> str:
    """From file to map, beside the published recipe."""
    rows = []
    for row in result["rows"]:
        figures = [quality(found) for found in (row["metrics"], row.get("published") or [])]
        low, high = row["ratio"]["least"], row["ratio"]["most"]
        rows.append(
            [
                row["scene"],
                f"{row['first_seconds']:.1f} s",
                seconds(row["seconds"]),
                seconds(row["torch_seconds"]),
                f"{row['extrapolated_by']['steps']:.0f} / {row['extrapolated_by']['scorings']:.0f}",
                f"**{row['ratio']['median']:.0f}** ({low:.0f}–{high:.0f})",
                *figures,
            ]
        )
    header = ["scene", "default, first run", "default, again", "published recipe in PyTorch"]
    header += ["its steps / scorings, over those timed", "ratio", "default: AUC / AP", "published recipe: AUC / AP"]
    note = (
        "From the raw file to the map and its report on disk, with the start of the process. A first run may compile "
        "what later ones take from the cache."
    )
    return section("From file to map", "end_to_end", table(header, rows) + f"\n\n{note}", result)


def cold_start(result: dict[str, Any]) -> str:
    """From the start of a process to what it is for."""
    rows = [[row["what"], seconds(row["seconds"])] for row in result["rows"]]
    return section("Cold start", "cold_start", table(["command", "time"], rows), result)


def quality(found: list[dict[str, float]]) -> str:
    """Mean AUC and AP with their deviations."""
    if not found:
        return "not run"
    auc, ap = ([one[name] for one in found] for name in ("auc", "average_precision"))
    return f"{spread(auc, 4)} / {spread(ap, 3)}"


def against_pytorch(result: dict[str, Any]) -> str:
    """One evaluation, one step, one scene, beside PyTorch."""
    median, rounds = result["medians"], result["rounds"]
    lines = (
        (
            "one evaluation, µs; PyTorch as published (whole scene a call)",
            "torch_score_us",
            "our_score_us",
            "ratio_score",
        ),
        ("the same; PyTorch at its best batch", "torch_score_best_us", "our_score_us", "ratio_score_best_batch"),
        ("training step of 16 spectra, ms", "torch_step_ms", "our_step_ms", "ratio_step"),
        (
            "a scene, s: PyTorch by the published recipe (extrapolated), here by the default",
            "torch_published_seconds_extrapolated",
            "our_default_seconds",
            "ratio_scene",
        ),
        ("evaluation; torch.compile, whole scene a call", "compiled_score_us", "our_score_us", "ratio_compiled_score"),
        (
            "evaluation; torch.compile at its best batch",
            "compiled_score_best_us",
            "our_score_us",
            "ratio_compiled_score_best_batch",
        ),
        ("training step, ms; torch.compile", "compiled_step_ms", "our_step_ms", "ratio_compiled_step"),
    )
    rows = []
    for title, theirs, ours, ratio in lines:
        if ratio not in median:
            rows.append([title, f"not run: {result.get('not_compiled', 'not tried')}", f"{median[ours]:.3g}", ""])
            continue
        found = f"{min(r[ratio] for r in rounds):.1f}–{max(r[ratio] for r in rounds):.1f}"
        rows.append([title, f"{median[theirs]:.4g}", f"{median[ours]:.3g}", f"**{median[ratio]:.1f}** ({found})"])
    return "\n".join(
        [
            "",
            "## Against PyTorch",
            "",
            "`python -m benchmarks.against_pytorch`",
            "",
            table(["HYDICE, wall-clock time, medians", "PyTorch", "here", "ratio (range of the rounds)"], rows),
            "",
            f"The same parameters on both sides: outputs differ by {result['relative_difference']:.0e} of the largest.",
            "",
            machine(result["environment"]),
        ]
    )


def roofline(result: dict[str, Any]) -> str:
    """What the devices can do, and our share of it while scoring."""
    done = []
    if "evaluation_flops_done" in result:
        done = [
            ["arithmetic that is done, with fewer products", f"{result['evaluation_flops_done'] / 1e6:.2f} MFLOP"],
            ["its share of the highest matmul rate", f"{100 * result['share_of_matmul_rate_done']:.0f} %"],
        ]
    rates = {int(size): rate for size, rate in result["matmul_flops_per_second"].items()}
    rows = [[f"product of {size} × {size} matrices", f"{rate / 1e9:.0f} GFLOP/s"] for size, rate in rates.items()]
    rows += [
        ["memory bandwidth", f"{result['bandwidth_bytes_per_second'] / 1e9:.1f} GB/s"],
        ["one evaluation, arithmetic of its products", f"{result['evaluation_flops'] / 1e6:.2f} MFLOP"],
        ["one evaluation, bytes moved", f"{result['evaluation_bytes'] / 1e3:.0f} kB"],
        ["one evaluation", f"{result['evaluation_seconds'] * 1e6:.2f} µs"],
        ["scene of 8000 pixels × 175 bands, K = 100", seconds(result["scene_seconds"])],
        ["**share of the highest matmul rate**", f"**{100 * result['share_of_matmul_rate']:.0f} %**"],
        *done,
        ["share of the bandwidth", f"{100 * result['share_of_bandwidth']:.0f} %"],
    ]
    title = f"Scoring against the machine's limit, {result['devices']} devices"
    return section(title, "roofline", table(["all devices at once", "median"], rows), result)


def slopes(result: dict[str, Any]) -> str:
    """How time grows, in a sentence."""
    found = ", ".join(f"{name} {value:.2f}" for name, value in result["slopes"].items())
    return f"Slopes of log time against log size: {found}."


def breakdown(result: dict[str, Any]) -> str:
    """Shares of what is compiled, and the stages of a run."""
    compiled = result["compiled"]
    kinds = dict.fromkeys(kind for one in compiled for kind in one["shares"])
    rows = [["**median time, µs**", *(f"**{1e6 * one['seconds']['median']:.0f}**" for one in compiled)]]
    rows += [[kind, *(f"{100 * one['shares'].get(kind, 0):.0f} %" for one in compiled)] for kind in kinds]
    shares = table(["", *(one["what"] for one in compiled)], rows)
    stages = table(
        [f"`scoread detect`, {result['scene']}", "time"], [[k, seconds(v)] for k, v in result["stages"].items()]
    )
    note = (
        "Scoring on all devices at once, training on one; shares from XLA's own trace. Neighbouring operations that "
        "XLA fused count for what they end with. "
        "Below, a run of the default with everything compiled before."
    )
    return section("What the time goes into", "breakdown", f"{shares}\n\n{note}\n\n{stages}", result)


def score_scene(result: dict[str, Any]) -> str:
    """Time and memory against size."""
    rows = [
        [
            f"{row['pixels']} × {row['perturbations']} × {row['times']}",
            seconds(row["seconds"]),
            f"{row['seconds']['median'] / (row['pixels'] * row['perturbations'] * row['times']) * 1e6:.2f}",
            f"{row['bytes'] / 2**20:.2f}",
        ]
        for row in result["rows"]
    ]
    header = ["pixels × K × times", "time", "µs an evaluation", "memory of a device, MiB"]
    note = f"{slopes(result)} Memory is beyond the spectra and the map."
    return section("Scoring against size", "score_scene", table(header, rows) + f"\n\n{note}", result)


def scaling(result: dict[str, Any]) -> str:
    """Time and memory from small to large."""
    rows = [
        [
            row["varied"],
            f"{row['pixels']} × {row['bands']} × {row['perturbations']} × {row['times']}",
            seconds(row["seconds"]),
            f"{row['scene']:.0f}",
            f"{row['megabytes']:.0f}",
        ]
        for row in result["rows"]
    ]
    header = ["varied", "pixels × bands × K × times", "time", "scene, MiB", "memory beyond the scene, MiB"]
    note = (
        f"{slopes(result)} The published network by `pipeline.score`, each point in a "
        "process of its own; memory is what the system counts.\n\n![time and memory against size](results/scaling.png)"
    )
    return section("From small to large", "scaling", table(header, rows) + f"\n\n{note}", result)


def train_epoch(result: dict[str, Any]) -> str:
    """Time of a training step."""
    rows = [
        [
            row["preset"],
            str(row["batch"]),
            seconds(row["step_seconds"], 1e3, "ms"),
            f"{row['batch'] / row['step_seconds']['median']:.0f}",
        ]
        for row in result["rows"]
    ]
    header = ["configuration", "batch", "one step", "spectra a second"]
    return section("Training", "train_epoch", table(header, rows), result)


def early_stopping(result: dict[str, Any]) -> str:
    """What patience does to the published recipe."""
    found = grouped(result["rows"], ("scene", "patience"), ("steps", "auc", "average_precision"), np.stack)
    rows = [
        [*map(str, case), f"{len(steps)}", f"{np.mean(steps):.0f}", spread(aucs, 4), spread(precisions, 3)]
        for case, (steps, aucs, precisions) in ((case, np.transpose(runs).tolist()) for case, runs in found.items())
    ]
    note = (
        "Means over the seeds whose training it would have ended. A tenth of the spectra is held out; the published "
        "recipe trains on all of them and takes the last parameters."
    )
    text = table(["scene", "`train.patience`", "seeds", "steps", "AUC", "AP"], rows) + f"\n\n{note}"
    return section("Stopping without labels", "early_stopping", text, result)


def sharding(result: dict[str, Any]) -> str:
    """One device against several."""
    rows = [
        [row["work"], str(row["devices"]), row["strategy"], seconds(row["seconds"], 1e3, "ms")]
        for row in result["rows"]
    ]
    return section("Several devices", "sharding", table(["work", "devices", "strategy", "time"], rows), result)


def ensemble(result: dict[str, Any]) -> str:
    """Members together against one after the other."""
    rows = [
        [
            row["preset"],
            str(row["members"]),
            seconds(row["seconds"]["one"], 1e3 / row["steps"], "ms"),
            seconds(row["seconds"]["together"], 1e3 / row["steps"], "ms"),
            f"{row['ratio']:.2f}",
        ]
        for row in result["rows"]
    ]
    header = ["configuration", "members", "a step of one", "a step of all together", "one after the other / together"]
    return section("Ensembles", "ensemble", table(header, rows), result)


def large_scene(result: dict[str, Any]) -> str:
    """What a scene larger than its memory takes."""
    rows, cols, bands = result["shape"]
    size, limit, peak = (result[name] / 2**30 for name in ("file_bytes", "max_memory", "peak_resident_bytes"))
    text = (
        f"{rows} × {cols} pixels, {bands} bands, {size:.1f} GiB on disk, by the default recipe in one view with few "
        f"perturbations under `--max-memory {limit:.3g}GiB`: **peak resident memory {peak:.2f} GiB**, as the system "
        f"counts it; {result['seconds'] / 60:.0f} min from file to files; AUC of the planted pixels "
        f"{result['auc_of_planted']:.4f}."
    )
    return section("A scene larger than memory", "large_scene", text, result)


def lowerings(result: dict[str, Any]) -> str:
    """Each layer in several ways."""
    by_case: dict[tuple[str, str, bool], dict[str, str]] = {}
    for row in result["table"]:
        case = by_case.setdefault((row["layer"], row["way"], row["used"]), {})
        case[row["kind"]] = f"{row['seconds']['median'] * 1e6:.2f}"
    rows = [
        [layer, f"**{way}**" if used else way, found["forward"], found["gradients"]]
        for (layer, way, used), found in by_case.items()
    ]
    header = ["layer", "way (bold: used)", "forward, µs", "forward and gradients, µs"]
    text = table(header, rows) + f"\n\nFor one spectrum, {result['rows_in_flight']} in flight, inside a compiled loop."
    return section("Ways to write a layer", "lowerings", text, result)


def estimators(result: dict[str, Any]) -> str:
    """Quality against evaluations."""
    figures = ("evaluations", "spearman", "spearman_top", "auc", "average_precision")
    published = grouped(result["published"], ("scene", "estimator", "copies"), figures)
    by = ("scene", "estimator", "copies")
    least = grouped(result["published"], by, ("seconds",), np.min)  # the first seed's may hold a compilation
    of_member = ("auc", "average_precision", "whole_auc", "whole_average_precision")
    member = grouped(result["member"], ("estimator", "copies"), of_member)
    first = table(
        ["scene", "estimator", "K", "evaluations", "seconds", "rank correlation", "of the highest 5 %", "AUC", "AP"],
        [[*map(str, case), f"{n:.0f}", f"{least[case][0]:.2g}", f"{r:.4f}", f"{top:.3f}", f"{auc:.4f}", f"{ap:.3f}"]
         for case, (n, r, top, auc, ap) in published.items()],
    )  # fmt: skip
    second = table(
        ["estimator", "K at each of three times", "network: AUC", "AP", "default: AUC", "AP"],
        [[*map(str, case), f"{auc:.4f}", f"{ap:.3f}", f"{whole:.4f}", f"{whole_ap:.3f}"]
         for case, (auc, ap, whole, whole_ap) in member.items()],
    )  # fmt: skip
    text = (
        "The authors' networks, means over seeds. Rank correlation is with the map at K = 1000, on the anomalous and "
        "3000 random pixels; AUC and AP are of the whole scene. `8, then 100` is `detect.first`, bfloat16 is "
        f"`detect.precision`.\n\n{first}\n\n"
        f"The default, means over scenes and seeds: its network member alone, and the whole:\n\n{second}"
    )
    return section("Fewer evaluations", "estimators", text, result)


def grouped(
    rows: Iterable[dict[str, Any]],
    by: tuple[str, ...],
    figures: tuple[str, ...],
    reduce: Callable[..., Any] = np.mean,
) -> dict[tuple[Any, ...], list[float]]:
    """Means of figures by case, in the order of first appearance."""
    cases: dict[tuple[Any, ...], list[list[float]]] = {}
    for row in rows:
        cases.setdefault(tuple(row[name] for name in by), []).append([row[figure] for figure in figures])
    return {case: np.asarray(reduce(found, axis=0)).tolist() for case, found in cases.items()}


def seconds(found: dict[str, float], factor: float = 1.0, unit: str = "s") -> str:
    """Median and range."""
    median, least, most = (factor * found[name] for name in ("median", "least", "most"))
    return f"{median:.3g} {unit} ({least:.3g}–{most:.3g})"


def section(title: str, command: str, text: str, result: dict[str, Any]) -> str:
    """A heading, the command, the text, and the machine."""
    return "\n".join(
        ["", f"## {title}", "", f"`python -m benchmarks.{command}`", "", text, "", machine(result["environment"])]
    )
