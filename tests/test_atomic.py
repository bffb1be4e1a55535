"""Files written whole or not at all."""

import os

import pytest

from vp.atomic import write_atomic


def test_text_and_bytes(tmp_path):
    write_atomic(tmp_path / "text", "γ\r\n")
    write_atomic(str(tmp_path / "bytes"), b"\xff\n")
    assert (tmp_path / "text").read_bytes() == b"\xce\xb3\r\n", "UTF-8, ends of lines as they are"
    assert (tmp_path / "bytes").read_bytes() == b"\xff\n"
    write_atomic(tmp_path / "text", "x")
    assert (tmp_path / "text").read_bytes() == b"x"
    assert sorted(os.listdir(tmp_path)) == ["bytes", "text"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, failing):
    write_atomic(tmp_path / "a", "old")

    def full(*_):
        assert len(os.listdir(tmp_path)) == 2, "under another name in the same folder until it is whole"
        assert (tmp_path / "a").read_text() == "old"
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as m:
        m.setattr(os, failing, full)
        with pytest.raises(OSError, match="No space"):
            write_atomic(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]


def test_it_is_on_the_disk_before_it_has_the_name(tmp_path, monkeypatch):
    done, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (fsync(fd), done.append(("on disk", os.fstat(fd).st_ino, os.fstat(fd).st_size))))
    monkeypatch.setattr(os, "replace", lambda a, b: (done.append(("renamed", os.stat(a).st_ino)), replace(a, b)))
    write_atomic(tmp_path / "a", "12345")
    inode = (tmp_path / "a").stat().st_ino
    assert done == [("on disk", inode, 5), ("renamed", inode)]


def test_the_folder_must_be_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_atomic(tmp_path / "no" / "a", "x")
