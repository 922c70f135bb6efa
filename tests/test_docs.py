"""Every shell line and every Python example of the README and the first pages, run on small made files.

Lines that install something are left out. Public scenes are stood in for by a made one, and training is cut short.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from scoread_jax import cli, datasets

ROOT = Path(__file__).resolve().parent.parent
INSTALLING = ("make ", "pip ", "python3 -m venv ")
# Wants a file of the authors' repository.
ELSEWHERE = ("scoread import-weights ",)
SHORT = [
    "--train.steps",
    "20",
    "--network.hidden",
    "16",
    "--network.blocks",
    "1",
    "--closed_form.views",
    "standardised",
]
SHORT += ["--closed_form.nearest_inner", "1", "--closed_form.nearest_outer", "5"]
SHORT += ["--closed_form.gaussian_inner", "3", "--closed_form.gaussian_outer", "9"]


def blocks(page, language):
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def shell_lines(page):
    whole = "\n".join(blocks(page, "sh")).replace("\\\n", " ")
    lines = [re.sub(r"\s+#.*", "", line).strip() for line in whole.splitlines()]
    return [line for line in lines if line and not line.startswith((*INSTALLING, *ELSEWHERE))]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The files that the pages speak of."""
    rasterio = pytest.importorskip("rasterio")
    made = datasets.synthetic(rows=20, cols=18, bands=18)
    for name in ("scene.mat", "other.mat"):
        scipy.io.savemat(tmp_path / name, {"data": made.cube, "map": made.truth})
    scipy.io.savemat(tmp_path / "truth.mat", {"map": made.truth})
    np.save(tmp_path / "mask.npy", np.ones(made.valid.shape, bool))
    profile = {"height": 20, "width": 18, "count": 18, "dtype": "uint16", "crs": "EPSG:32632"}
    profile["transform"] = rasterio.transform.from_origin(500_000, 5_400_000, 5, 5)
    for name, driver in (("scene.tif", "GTiff"), ("scene.img", "ENVI")):
        with rasterio.open(tmp_path / name, "w", driver=driver, **profile) as file:
            file.write(np.moveaxis(made.cube, -1, 0))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets, "load", lambda name, *_: made)
    return tmp_path


def run(line):
    program, *arguments = shlex.split(line)
    assert program == "scoread", line
    if arguments[0] in ("detect", "train") and "--help" not in arguments:
        arguments += SHORT
    code = cli.main(arguments)
    assert code == 0 or (arguments[0] == "doctor" and code == 1), line


def test_there_are_lines_to_run():
    assert len(shell_lines("README.md")) >= 6
    assert len(shell_lines("docs/scenes.md")) >= 10


@pytest.mark.parametrize("page", ["README.md", "docs/start.md", "docs/scenes.md"])
def test_shell_lines_work_in_order(page, folder):
    for code in blocks(page, "python"):
        if code.startswith("# mine.py\n"):
            (folder / "mine.py").write_text(code)
    for line in shell_lines(page):
        run(line)
    if page == "docs/scenes.md":
        for result in ("scene", "envi-result", "tif-result", "fewer-bands", "masked", "judged", "other"):
            found = folder / (result if (folder / result).is_dir() else f"{result}-scoread")
            assert np.isfinite(np.load(found / "map.npy")).all(), result
        assert (folder / "tif-result" / "map.tif").exists()


@pytest.mark.parametrize(
    "page", ["README.md", "docs/start.md", "docs/research.md", pytest.param("docs/python.md", marks=pytest.mark.slow)]
)
def test_python_examples_run(page, folder):
    pytest.importorskip("xarray")
    namespace = {}
    for code in blocks(page, "python"):
        exec(compile(code, page, "exec"), namespace)
