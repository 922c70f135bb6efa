"""Every benchmark of speed runs in its short form, and what it finds fits its table."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from benchmarks import plots, tables, throughput_tables, timing
from benchmarks.common import RESULTS, reference_folder
from scoread_jax import datasets, parallel
from scoread_jax.report import save_figure

NEED_TORCH = {"against_pytorch", "end_to_end", "estimators"}
NAMES = (
    "against_pytorch", "breakdown", "cold_start", "early_stopping", "end_to_end", "ensemble", "estimators",
    "lowerings", "roofline", "scaling", "score_scene", "sharding", "train_epoch",
)  # fmt: skip
OF_QUALITY = (
    "accuracy", "against_peers", "authors_networks", "false_alarms", "large_objects", "large_scene", "reproduce",
)  # fmt: skip
CHEAP = {"ensemble"}


def benchmark(name):
    if name in NEED_TORCH:
        pytest.importorskip("torch")
    return importlib.import_module(f"benchmarks.{name}")


@pytest.mark.parametrize("name", NAMES)
def test_all_can_be_short_and_on_another_device(name, monkeypatch, capsys):
    module = benchmark(name)
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit):
        module.main()
    told = capsys.readouterr().out
    assert "--device" in told
    assert "--quick" in told
    assert f"python -m benchmarks.{name}" in told


@pytest.mark.parametrize(
    "name", [name if name in CHEAP else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
)
def test_the_short_form_runs_and_fits_its_table(name, monkeypatch):
    module = benchmark(name)
    if name in {*NEED_TORCH, "early_stopping"} and not datasets.at_hand("hydice"):
        pytest.skip("the scene is not here")
    if name in NEED_TORCH:
        pytest.importorskip("torch")
        monkeypatch.setenv("SCOREAD_REFERENCE_DIR", str(reference()))
    found = {}
    monkeypatch.setattr(timing, "write", lambda name, chosen, result: found.update({name: result}))
    monkeypatch.setattr(parallel.devices, "_chosen", None)
    monkeypatch.setattr(sys, "argv", [name, "--quick"])
    module.main()
    if name == "against_pytorch":  # a short one has no scene to tell of
        return
    machine = {"device": "a machine", "threads": 1, "versions": {"jax": "1"}}
    page = getattr(throughput_tables, name)(found[name] | {"environment": machine})
    assert f"`python -m benchmarks.{name}`" in page
    assert page.count("\n|") > 2
    assert "nan" not in page


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_QUALITY)
def test_the_others_run_in_their_short_form(name):
    """And write nothing."""
    if not datasets.at_hand("hydice"):
        pytest.skip("the scene is not here")
    if name in {"authors_networks", "reproduce"}:
        reference()
    if name == "authors_networks":
        pytest.importorskip("torch")
    before = {path: path.stat().st_mtime_ns for path in RESULTS.iterdir()}
    ran = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", "--quick"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert ran.stdout
    assert {path: path.stat().st_mtime_ns for path in RESULTS.iterdir()} == before


def reference():
    try:
        return reference_folder()
    except SystemExit as error:
        pytest.skip(str(error))


def test_every_benchmark_has_its_table():
    assert set(NAMES) <= set(tables._SPEED)
    assert all(hasattr(throughput_tables, name) for name in tables._SPEED)


def test_the_growth_is_drawn(tmp_path):
    rows = [
        {"varied": name, name: 10.0**power, "seconds": {"median": 0.01 * 10**power}, "megabytes": 80.0}
        for name in ("pixels", "bands", "perturbations", "times") for power in range(3)
    ]  # fmt: skip
    save_figure(
        plots.growth(rows, dict.fromkeys(("pixels", "bands", "perturbations", "times"), 1.0)), tmp_path / "a.png"
    )
    assert (tmp_path / "a.png").stat().st_size > 10_000
