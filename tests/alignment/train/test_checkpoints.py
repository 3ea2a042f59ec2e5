"""Checkpoints are whole or don't count; a run folder is for one run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from motet_alignment.errors import TrainError
from motet_alignment.train.checkpoints import last_checkpoint, run_folder, seal

IDENTITY = {"rank": 8, "seed": 0}


def checkpoint(folder: Path, step: int, *, sealed: bool = True) -> Path:
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    (path / "weights").write_bytes(b"12345")
    if sealed:
        seal(path)
    return path


def test_the_last_whole_checkpoint_counts_and_the_rest_goes(tmp_path: Path):
    whole, cut = checkpoint(tmp_path, 9), checkpoint(tmp_path, 10)
    unsealed = checkpoint(tmp_path, 11, sealed=False)
    (cut / "weights").write_bytes(b"123")
    assert last_checkpoint(tmp_path) == whole
    assert not cut.exists()
    assert not unsealed.exists()


def test_a_file_that_is_gone_breaks_a_checkpoint(tmp_path: Path):
    (checkpoint(tmp_path, 1) / "weights").unlink()
    assert last_checkpoint(tmp_path) is None


def test_going_on_and_starting_over(tmp_path: Path):
    folder = tmp_path / "run"
    with run_folder(folder, IDENTITY, None, leads=True) as found:
        assert found is None
        written = checkpoint(folder, 5)
    with run_folder(folder, IDENTITY, True, leads=True) as found:
        assert found == written
    with run_folder(folder, {**IDENTITY, "seed": 1}, False, leads=True) as found:
        assert found is None
    assert not written.exists()


def test_other_settings_are_refused_by_name(tmp_path: Path):
    with run_folder(tmp_path / "run", IDENTITY, None, leads=True):
        pass
    with (
        pytest.raises(TrainError, match=r"other settings \(rank was 8 and is now 4\)"),
        run_folder(tmp_path / "run", {**IDENTITY, "rank": 4}, None, leads=True),
    ):
        pass


def test_one_run_at_a_time(tmp_path: Path):
    with (
        run_folder(tmp_path / "run", IDENTITY, None, leads=True),
        pytest.raises(TrainError, match="another training is running there"),
        run_folder(tmp_path / "run", IDENTITY, None, leads=True),
    ):
        pass


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("all of it")
    (tmp_path / "loss.txt").write_text("of words")
    for resume in (None, False):
        with (
            pytest.raises(TrainError, match="holds other things than a run"),
            run_folder(tmp_path, IDENTITY, resume, leads=True),
        ):
            pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["loss.txt", "thesis.txt"]


def test_a_run_that_was_killed_as_it_began_begins_again(tmp_path: Path):
    (tmp_path / "run.json.new").write_text('{"trainer"')
    with run_folder(tmp_path, IDENTITY, None, leads=True) as checkpoint:
        assert checkpoint is None
    assert json.loads((tmp_path / "run.json").read_text()) == IDENTITY


def test_resume_needs_something_to_resume(tmp_path: Path):
    with pytest.raises(TrainError, match="there is no run"), run_folder(tmp_path, IDENTITY, True, leads=True):
        pass
