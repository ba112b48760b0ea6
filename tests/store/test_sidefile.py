"""The witness of the last written second."""

import pytest

from leadline.store.sidefile import SideFile

T = 1_763_000_000


def test_a_store_that_ends_before_the_side_file_has_lost_its_log(tmp_path):
    SideFile(tmp_path / "last").note(T)
    side = SideFile(tmp_path / "last")
    assert side.seen == T
    assert [side.log_lost(newest) for newest in (T - 1, T, T + 5, None)] == [True, False, False, True]


def test_without_a_readable_side_file_nothing_is_said(tmp_path):
    assert not SideFile(tmp_path / "last").log_lost(None)
    (tmp_path / "last").write_text("garbage")
    side = SideFile(tmp_path / "last")
    assert (side.seen, side.log_lost(None)) == (None, False)
    (tmp_path / "last").write_bytes(b"\xff\xfe")
    assert SideFile(tmp_path / "last").seen is None


def test_the_file_is_written_at_most_every_ten_seconds(tmp_path):
    path = tmp_path / "last"
    side = SideFile(path)
    written = []
    for second in range(T, T + 25):
        side.note(second)
        written.append(path.read_text())
    assert written == [f"{T}\n"] * 10 + [f"{T + 10}\n"] * 10 + [f"{T + 20}\n"] * 5
    assert [file.name for file in tmp_path.iterdir()] == ["last"]


def test_a_clock_that_stepped_back_does_not_rewrite_it(tmp_path):
    side = SideFile(tmp_path / "last")
    side.note(T)
    side.note(T - 3_600)
    assert (tmp_path / "last").read_text() == f"{T}\n"


def test_a_folder_that_is_not_there_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        SideFile(tmp_path / "absent" / "last").note(T)
