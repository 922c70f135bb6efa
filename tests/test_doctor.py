"""What the doctor finds, and that shells can complete the commands."""

from __future__ import annotations

import json
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

import scoread_jax
from scoread_jax import cli, datasets, doctor


@pytest.fixture
def found(monkeypatch):
    """As where the package is installed, also where it is only on the path."""
    pyproject = Path(__file__).resolve().parent.parent / "pyproject.toml"
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"].items()
    lines = [*project["dependencies"], *(f'{line}; extra == "{name}"' for name, wanted in optional for line in wanted)]
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: lines)
    return doctor.examine()


def test_tells_what_there_is(found):
    assert found["version"] == scoread_jax.__version__
    assert found["devices"][0].startswith("cpu 0")
    assert {"jax", "numpy", "matplotlib"} <= set(found["libraries"])
    assert all(found["libraries"].values())
    assert {"geo", "zarr", "sklearn", "torch"} <= set(found["extras"])
    assert not {"test", "dev", "cuda12"} & set(found["extras"])
    assert set(found["scenes"]) == set(datasets.names())
    assert found["scenes"]["synthetic"]


def test_is_read_by_people_and_programs(found, capsys):
    assert cli.main(["doctor", "--json"]) == (1 if found["problems"] else 0)
    assert json.loads(capsys.readouterr().out)["libraries"] == found["libraries"]
    missing = found | {"extras": {"geo": {"rasterio": None}}, "problems": ["mend it"]}
    text = doctor.describe(missing)
    assert "not installed; pip install 'scoread-jax[geo]'" in text
    assert text.endswith("problems\n  mend it")
    assert max(map(len, text.splitlines())) <= 200


def test_a_scene_is_at_hand_where_its_file_is(tmp_path, monkeypatch):
    monkeypatch.setenv("SCOREAD_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("SCOREAD_CACHE_DIR", str(tmp_path / "cache"))
    assert not datasets.at_hand("hydice")
    for file in datasets.find("hydice").files:
        (tmp_path / file.name).touch()
    assert datasets.at_hand("hydice")


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_shells_complete(shell, tmp_path):
    shtab = pytest.importorskip("shtab")
    script = shtab.complete(cli.parser(), shell)
    assert "import-weights" in script
    assert "--detect.times" in script
    if shutil.which(shell):
        (tmp_path / "script").write_text(script)
        subprocess.run([shell, "-n", tmp_path / "script"], check=True)
