"""Atomic files: whatever interrupts a write, a reader sees the old content or the new."""

import errno
import os
import signal
import subprocess
import sys
import time

import pytest

from shared import files
from shared.files import append_line, atomic_writer, sha256_bytes, sha256_file, write_atomic
from shared.settings import CHECKOUT
from tests.small_disk import small_disk

__all__ = ["small_disk"]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "record.json"
    write_atomic(path, "old")
    return path


def content(directory) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_text_and_bytes_replace_what_was_there(file):
    write_atomic(file, "gr\u00f6\u00dfer")
    assert file.read_text(encoding="utf-8") == "gr\u00f6\u00dfer"
    write_atomic(file, b"\x00")
    assert content(file.parent) == {"record.json": b"\x00"}


def test_an_exception_half_way_leaves_the_old_content_and_nothing_beside_it(file):
    with pytest.raises(TypeError), atomic_writer(file) as writer:
        writer.writelines([b"half", "text"])
    assert content(file.parent) == {"record.json": b"old"}


@pytest.mark.parametrize("seam", ["fsync", "replace"])
def test_a_failing_system_call_leaves_the_old_content(file, monkeypatch, seam):
    def fail(*arguments):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, seam, fail)
    with pytest.raises(OSError, match="Input/output"):
        write_atomic(file, "new")
    assert content(file.parent) == {"record.json": b"old"}


WRITER = """
import sys
from pathlib import Path
from shared.files import atomic_writer
with atomic_writer(Path(sys.argv[1])) as writer:
    writer.write(b"half")
    writer.flush()
    print("half", flush=True)
    sys.stdin.read()
"""


def test_kill_minus_9_half_way_leaves_the_old_content(file):
    argv = [sys.executable, "-c", WRITER, str(file)]
    process = subprocess.Popen(argv, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"half\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert file.read_bytes() == b"old"


def test_a_full_disk_leaves_the_old_content_and_nothing_beside_it(small_disk):
    file = small_disk / "record.json"
    write_atomic(file, "old")
    with pytest.raises(OSError, match="No space left") as full:
        write_atomic(file, b"x" * 2**24)
    assert full.value.filename == str(file)
    assert content(small_disk) == {"record.json": b"old"}


def test_a_full_disk_says_which_file_a_line_had_no_room_in(small_disk):
    with pytest.raises(OSError, match="No space left") as full:
        append_line(small_disk / "lines.jsonl", "x" * 2**24)
    assert full.value.filename == str(small_disk / "lines.jsonl")


def test_a_reader_beside_a_busy_writer_never_sees_half(file):
    code = (
        "import sys\nfrom pathlib import Path\nfrom shared.files import write_atomic\n"
        "for n in range(100): write_atomic(Path(sys.argv[1]), str(n % 10) * 50_000)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(file)], cwd=CHECKOUT) as process:
        deadline = time.monotonic() + 60
        while process.poll() is None:
            seen = file.read_bytes()
            assert seen == b"old" or (len(seen), len(set(seen))) == (50_000, 1)
            assert time.monotonic() < deadline
    assert process.returncode == 0


def test_no_descriptor_stays_open(file):
    before = len(os.listdir("/dev/fd"))
    for _ in range(20):
        write_atomic(file, "new")
    assert len(os.listdir("/dev/fd")) == before


def test_a_digest_is_that_of_the_content(file):
    assert sha256_file(file) == sha256_bytes(b"old")


def test_a_line_that_was_cut_short_costs_no_other(tmp_path):
    path = tmp_path / "log.jsonl"
    append_line(path, "first")
    with open(path, "ab") as file:
        file.write(b"to")
    append_line(path, "last")
    assert path.read_text() == "first\nto\nlast\n"


@pytest.mark.parametrize("knows", [True, False])
def test_a_mac_is_asked_to_empty_the_drives_own_cache_and_a_volume_that_cannot_is_synced(file, monkeypatch, knows):
    asked, synced = [], []

    def fcntl(descriptor, command):
        asked.append(command)
        if not knows:
            raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(files.fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(files.fcntl, "fcntl", fcntl)
    monkeypatch.setattr(files.os, "fsync", synced.append)
    monkeypatch.setattr(files.sys, "platform", "darwin")
    files.sync(7)
    assert (asked, synced) == ([51], [] if knows else [7])
