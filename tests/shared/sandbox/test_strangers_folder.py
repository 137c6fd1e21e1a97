"""Copying a folder whose owner would like it to hold something else."""

import os
from contextlib import suppress
from pathlib import Path
from time import monotonic

import pytest

from shared.sandbox.strangers_folder import Copying, Refused, copy_folder

MANY, MUCH = 50, 1 << 20


@pytest.fixture
def theirs(tmp_path) -> Path:
    folder = tmp_path / "theirs"
    (folder / "deep" / "deeper").mkdir(parents=True)
    (folder / "kernel.so").write_bytes(b"machine code")
    (folder / "deep" / "deeper" / "graph").write_bytes(b"x" * 3000)
    return folder


def copied(folder: Path, target: Path, **limits) -> Copying:
    copying = Copying(**{"entries_left": MANY, "bytes_left": MUCH, "deadline": monotonic() + 20} | limits)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        copy_folder(descriptor, target, copying)
    finally:
        os.close(descriptor)
    return copying


def test_folders_and_files_are_copied_and_counted(theirs, tmp_path):
    copying = copied(theirs, tmp_path / "ours")
    assert (tmp_path / "ours" / "kernel.so").read_bytes() == b"machine code"
    assert (tmp_path / "ours" / "deep" / "deeper" / "graph").read_bytes() == b"x" * 3000
    assert (copying.num_files, copying.num_bytes) == (2, 3012)


def a_link_to_a_file(theirs, secret):
    (theirs / "rows").symlink_to(secret)


def a_link_to_a_folder(theirs, secret):
    (theirs / "deep" / "rows").symlink_to(secret.parent)


def a_second_name_of_a_file(theirs, secret):
    (theirs / "rows").hardlink_to(secret)


def a_pipe(theirs, secret):
    os.mkfifo(theirs / "pipe")


def a_sparse_file_of_ten_gigabytes(theirs, secret):
    os.truncate(os.open(theirs / "large", os.O_CREAT | os.O_WRONLY), 10 << 30)


def too_many_files(theirs, secret):
    for number in range(MANY):
        (theirs / str(number)).touch()


def folders_without_end(theirs, secret):
    theirs.joinpath(*["d"] * 30).mkdir(parents=True)


ODD = (
    a_link_to_a_file, a_link_to_a_folder, a_second_name_of_a_file, a_pipe, a_sparse_file_of_ten_gigabytes,
    too_many_files, folders_without_end,
)  # fmt: skip


@pytest.mark.parametrize("plant", ODD, ids=lambda plant: plant.__name__)
def test_what_is_neither_a_file_nor_a_folder_or_is_too_much_is_refused(theirs, tmp_path, plant):
    secret = tmp_path / "secret" / "rows"
    secret.parent.mkdir()
    secret.write_bytes(b"validation")
    plant(theirs, secret)
    with pytest.raises(Refused):
        copied(theirs, tmp_path / "ours")
    assert b"validation" not in [path.read_bytes() for path in (tmp_path / "ours").rglob("*") if path.is_file()]


def test_a_copy_that_takes_too_long_is_refused(theirs, tmp_path):
    with pytest.raises(Refused, match="too long"):
        copied(theirs, tmp_path / "ours", deadline=monotonic() - 1)


def test_a_folder_that_is_replaced_by_a_link_leads_nowhere(theirs, tmp_path):
    """The copy goes on in the folder that was opened, whatever its name means now."""
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "rows").write_bytes(b"validation")
    descriptor = os.open(theirs, os.O_RDONLY)
    theirs.rename(tmp_path / "moved")
    theirs.symlink_to(secret)
    copy_folder(descriptor, tmp_path / "ours", Copying(MANY, MUCH, monotonic() + 20))
    os.close(descriptor)
    assert not (tmp_path / "ours" / "rows").exists()
    assert (tmp_path / "ours" / "kernel.so").exists()


class Swapping(Copying):
    """Puts a link to the secret in the place of a folder, after the folder around it was listed."""

    def enter(self) -> None:
        super().enter()
        if not self.place.is_symlink():
            self.place.rename(self.place.with_name("aside"))
            self.place.symlink_to(self.secret)


@pytest.mark.parametrize("name", ["deep", "deep/deeper"])
def test_a_folder_that_is_swapped_for_a_link_once_it_was_listed_leads_nowhere(theirs, tmp_path, name):
    secret = tmp_path / "secret"
    (secret / "deeper").mkdir(parents=True)
    (secret / "graph").write_bytes(b"validation")
    (secret / "deeper" / "graph").write_bytes(b"validation")
    copying = Swapping(MANY, MUCH, monotonic() + 20)
    copying.place, copying.secret = theirs / name, secret
    descriptor = os.open(theirs, os.O_RDONLY)
    with suppress(Refused):
        copy_folder(descriptor, tmp_path / "ours", copying)
    os.close(descriptor)
    assert copying.place.is_symlink()
    assert all(path.read_bytes() != b"validation" for path in (tmp_path / "ours").rglob("*") if path.is_file())
