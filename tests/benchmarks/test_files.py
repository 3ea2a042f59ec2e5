"""Files and folders that are put into place whole."""

from __future__ import annotations

import os

import pytest

from motet_benchmarks.files import mend_folder, replace, replace_folder


@pytest.fixture
def folder(tmp_path):
    """Makes a folder with a file that holds its name."""

    def made(name: str):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
        return tmp_path / name

    return made


def test_a_file_is_replaced_by_a_whole_one(tmp_path):
    replace(tmp_path / "new/file", "one")
    replace(tmp_path / "new/file", b"two")
    assert (tmp_path / "new/file").read_text() == "two"
    assert os.listdir(tmp_path / "new") == ["file"]


def test_a_folder_takes_anothers_place(folder, tmp_path):
    replace_folder(folder("one"), tmp_path / "place")
    replace_folder(folder("two"), tmp_path / "place")
    assert (tmp_path / "place/file").read_text() == "two"
    assert os.listdir(tmp_path) == ["place"]


def test_what_stood_there_is_kept_when_the_new_one_cannot_be_put_there(folder, tmp_path, monkeypatch):
    place, new = folder("place"), folder("new")
    renames = []

    def killed(before, after, rename=os.replace):
        renames.append(after)
        if len(renames) == 2:
            raise KeyboardInterrupt
        rename(before, after)

    with monkeypatch.context() as during:
        during.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            replace_folder(new, place)
    assert not place.exists()
    assert (new / "file").read_text() == "new"

    # The next one is killed as well, before it could do anything: what stood there first is still to be had.
    with pytest.raises(FileNotFoundError):
        replace_folder(tmp_path / "not there", place)
    mend_folder(place)
    assert (place / "file").read_text() == "place"

    replace_folder(new, place)
    assert (place / "file").read_text() == "new"
    assert os.listdir(tmp_path) == ["place"]
