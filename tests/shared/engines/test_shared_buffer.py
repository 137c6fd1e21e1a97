"""Memory that a stranger writes: its size holds, and what was read is a copy."""

import os

import numpy as np
import pytest

from shared.engines.shared_buffer import HostBuffer

needs_seals = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="only Linux seals files in memory")


@pytest.fixture
def buffer():
    made = HostBuffer.create(1000)
    yield made
    made.close()


def test_what_one_side_writes_the_other_reads(buffer):
    other = HostBuffer(os.dup(buffer.descriptor), 1000)
    other.mapped()[10:13] = [1, 2, 3]
    read = bytearray(5)
    buffer.read_into(memoryview(read), 9)
    assert bytes(read) == bytes([0, 1, 2, 3, 0])
    other.close()


def test_what_was_read_does_not_change_any_more(buffer):
    memory, read = buffer.mapped(), bytearray(4)
    buffer.read_into(memoryview(read))
    memory[:] = 7
    assert bytes(read) == bytes(4)


@needs_seals
@pytest.mark.parametrize("size", [0, 999, 1001, 1 << 40])
def test_its_size_is_sealed(buffer, size):
    with pytest.raises(PermissionError):
        os.ftruncate(buffer.descriptor, size)
    assert os.fstat(buffer.descriptor).st_size == 1000


@needs_seals
def test_the_seals_cannot_be_taken_off(buffer):
    import fcntl

    with pytest.raises(PermissionError):
        fcntl.fcntl(buffer.descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)


def test_a_file_that_is_shorter_than_it_was_said_is_refused(tmp_path):
    (tmp_path / "short").write_bytes(b"123")
    descriptor = os.open(tmp_path / "short", os.O_RDWR)
    short = HostBuffer(descriptor, 10)
    with pytest.raises(ValueError, match="3 bytes, not 10"):
        short.mapped()
    with pytest.raises(ValueError, match="cut short"):
        short.read_into(memoryview(bytearray(10)))
    short.close()


def test_an_empty_buffer_maps_to_nothing():
    empty = HostBuffer.create(0)
    assert empty.mapped().shape == (0,)
    empty.read_into(memoryview(bytearray(0)))
    empty.close()


def test_a_large_read_comes_in_pieces(monkeypatch):
    monkeypatch.setattr("shared.engines.shared_buffer._LARGEST_READ", 7)
    made = HostBuffer.create(100)
    made.mapped()[:] = np.arange(100)
    read = bytearray(100)
    made.read_into(memoryview(read))
    assert list(read) == list(range(100))
    made.close()
