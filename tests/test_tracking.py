"""What a tracker is told, and where it lies."""

from __future__ import annotations

import json

import pytest

from scoread_jax import checkpoint, cli, tracking
from scoread_jax.errors import ScoreADError
from scoread_jax.train import Progress

STEPS = [Progress(epoch, 3, 10 * epoch, 1 / epoch, 0.5 * epoch, None) for epoch in (1, 2, 3)]  # type: ignore[arg-type]


def read(folder):
    return [json.loads(line) for line in (folder / tracking.FILE).read_text().splitlines()]


def test_a_line_is_added_with_each_call(tmp_path):
    callback = tracking.json_lines(tmp_path / "a" / "b")
    assert not (tmp_path / "a").exists()
    for progress in STEPS:
        callback(progress)
    lines = read(tmp_path / "a" / "b")
    assert [line["loss"] for line in lines] == [1, 1 / 2, 1 / 3]
    assert set(lines[0]) == {"epoch", "epochs", "step", "loss", "seconds", "time"}


@pytest.mark.parametrize("again", [1, 2, 3])
def test_a_log_tells_of_one_training(tmp_path, again):
    """Begun anew, or gone on with from further back, after an end in the middle of a line."""
    for progress in STEPS:
        tracking.json_lines(tmp_path)(progress)
    with (tmp_path / tracking.FILE).open("a") as file:
        file.write('{"epoch": 4, "ste')
    callback = tracking.json_lines(tmp_path)
    for progress in STEPS[again - 1 :]:
        callback(progress._replace(loss=7.0))
    lines = read(tmp_path)
    assert [line["step"] for line in lines] == [10, 20, 30]
    assert [line["loss"] == 7 for line in lines] == [epoch >= again for epoch in (1, 2, 3)]


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
        tracking.json_lines(tmp_path / "file")(STEPS[0])


def test_the_command_line_tracks(tmp_path, capsys):
    small = ["--config", "demo", "--network.hidden", "8", "--train.steps", "20", "--train.max_pixels", "64"]
    small += ["--train.batch_size", "32", "--fusion.members", "network", "--fusion.weights", "1"]
    code = cli.main(["train", "synthetic", "-o", str(tmp_path / "d"), "--track", str(tmp_path / "t"), *small])
    assert code == 0, capsys.readouterr().err
    assert read(tmp_path / "t")[-1]["step"] == 20
    assert [line["step"] for line in read(tmp_path / "d")] == [line["step"] for line in read(tmp_path / "t")]
    assert not (tmp_path / "d.run").exists()
    assert checkpoint.load(tmp_path / "d").bands > 0  # and the folder may be trained into again
    checkpoint.check_target(tmp_path / "d")
