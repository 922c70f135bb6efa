"""What a tracker is told, and where it lies."""

from __future__ import annotations

import json

import pytest

from scoread_jax import cli, tracking
from scoread_jax.errors import ScoreADError
from scoread_jax.train import Progress

STEPS = [Progress(epoch, 3, 10 * epoch, 1 / epoch, 0.5 * epoch, None) for epoch in (1, 2, 3)]  # type: ignore[arg-type]


def test_lines_are_appended_one_a_call(tmp_path):
    for _ in range(2):
        callback = tracking.json_lines(tmp_path / "a" / "b")
        for progress in STEPS:
            callback(progress)
    lines = [json.loads(line) for line in (tmp_path / "a" / "b" / tracking.FILE).read_text().splitlines()]
    assert len(lines) == 6
    assert [line["loss"] for line in lines[:3]] == [1, 1 / 2, 1 / 3]
    assert set(lines[0]) == {"epoch", "epochs", "step", "loss", "seconds", "time"}


def test_every_calls_all_in_order():
    told = []
    tracking.every(lambda progress: told.append("a"), lambda progress: told.append("b"))(STEPS[0])
    assert told == ["a", "b"]


def test_tensorboard_has_its_events(tmp_path):
    pytest.importorskip("tensorboardX")
    callback = tracking.in_folder(tmp_path)
    callback(STEPS[-1])
    assert (tmp_path / tracking.FILE).exists()
    (events,) = tmp_path.glob("events.out.tfevents.*")
    assert b"loss" in events.read_bytes()


def test_a_place_that_cannot_be_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ScoreADError, match="choose another folder"):
        tracking.json_lines(tmp_path / "file")


def test_the_command_line_tracks(tmp_path, capsys):
    small = ["--config", "demo", "--network.hidden", "8", "--train.steps", "20", "--train.max_pixels", "64"]
    small += ["--train.batch_size", "32", "--fusion.members", "network", "--fusion.weights", "1"]
    code = cli.main(["train", "synthetic", "-o", str(tmp_path / "d"), "--track", str(tmp_path / "t"), *small])
    assert code == 0, capsys.readouterr().err
    lines = (tmp_path / "t" / tracking.FILE).read_text().splitlines()
    assert json.loads(lines[-1])["step"] == 20
