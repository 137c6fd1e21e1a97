"""Reading packed rows: positions, wrapping, descriptors, and every kind of damage."""

import os

import numpy as np
import pytest

from shared.data.rows import Rows, RowsRecord, open_rows, remembered_sha256, rows_file, stamp_file
from shared.files import sha256_file, write_atomic

REPAIR = "repair-command"


@pytest.fixture
def path(tmp_path):
    """Seven rows of 4 + 1 tokens; token = 10 x row + column."""
    path = rows_file(tmp_path, 4)
    tokens = (10 * np.arange(7)[:, None] + np.arange(5)).astype("<u2")
    tokens.tofile(path)
    record = RowsRecord(num_rows=7, seq_len=4, sha256=sha256_file(path), dataset="0" * 64, packing_version=1)
    write_atomic(path.with_suffix(".json"), record.model_dump_json())
    return path


def rows_of(path):
    return open_rows(path, REPAIR)


def test_reading_gives_the_rows_at_a_position(path):
    block = rows_of(path).read(2, 3)
    assert block.dtype == np.uint16
    assert block[:, 0].tolist() == [20, 30, 40]


@pytest.mark.parametrize(("start", "count"), [(5, 4), (6, 1), (7, 2), (700, 3), (3, 20), (0, 7), (0, 8)])
def test_reading_wraps_around_at_the_end(path, start, count):
    assert rows_of(path).read(start, count)[:, 0].tolist() == [10 * (i % 7) for i in range(start, start + count)]


def test_what_was_read_may_be_written_to_without_changing_the_file(path):
    rows = rows_of(path)
    rows.read(0, 2)[:] = 9
    rows.read(5, 4)[:] = 9
    assert rows.read(0, 1)[0].tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="read-only"):
        rows.tokens[0, 0] = 1


def test_a_descriptor_is_enough_to_read_rows_even_after_it_is_closed(path):
    descriptor = os.open(path, os.O_RDONLY)
    rows = Rows.from_descriptor(descriptor, num_rows=7, seq_len=4)
    os.close(descriptor)
    path.unlink()
    assert (rows.num_rows, rows.seq_len) == (7, 4)
    assert rows.read(6, 1)[0, 4] == 64


def test_a_truncated_file_is_refused_with_its_name_and_the_repair(path):
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(ValueError, match=rf"{path}.*truncated.*{REPAIR}"):
        rows_of(path)


def test_an_empty_file_is_refused(path):
    os.truncate(path, 0)
    with pytest.raises(ValueError, match="truncated"):
        rows_of(path)


@pytest.mark.parametrize("missing", [".u16", ".json"])
def test_a_missing_file_or_record_is_named(path, missing):
    path.with_suffix(missing).unlink()
    with pytest.raises(ValueError, match=f"is not there; run: {REPAIR}"):
        rows_of(path)


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"\xff\xfe", b"[]"])
def test_a_damaged_record_is_named(path, content):
    path.with_suffix(".json").write_bytes(content)
    with pytest.raises(ValueError, match=r"rows-4\.json is damaged"):
        rows_of(path)


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[11] ^= 1
    path.write_bytes(content)


def test_a_changed_byte_is_found_at_opening(path):
    rows_of(path)
    flip_a_byte(path)
    with pytest.raises(ValueError, match=r"damaged: its sha256"):
        rows_of(path)


def test_only_verifying_every_byte_finds_a_change_that_kept_size_and_time(path):
    rows_of(path)
    state = path.stat()
    flip_a_byte(path)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    rows_of(path)
    with pytest.raises(ValueError, match="damaged"):
        open_rows(path, REPAIR, every_byte=True)


def test_a_file_is_hashed_once(path, monkeypatch):
    first = remembered_sha256(path)
    monkeypatch.setattr("shared.data.rows.sha256_file", lambda _: pytest.fail("hashed again"))
    assert remembered_sha256(path) == first


@pytest.mark.parametrize("stamp", [b"", b"null", b"\xff", b'{"num_bytes": 1}'])
def test_a_damaged_stamp_means_hashing_again(path, stamp):
    stamp_file(path).write_bytes(stamp)
    assert remembered_sha256(path) == sha256_file(path)
    assert rows_of(path).num_rows == 7
