"""Pages that a process had read from a disk, counted by this machine's kernel."""

import os
import subprocess
import sys

import pytest

from shared.sandbox.pages_read import PagesRead, open_own
from tests.unread_files import forget_or_skip

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="macOS does not count what is read")

CHILD = """
import mmap, os, sys
from shared.sandbox.pages_read import open_own

file = os.open(sys.argv[1], os.O_RDONLY)
os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)
mapped = mmap.mmap(file, 0, prot=mmap.PROT_READ)
mapped.madvise(mmap.MADV_RANDOM)
os.set_inheritable(descriptor := open_own(), True)
print(descriptor, flush=True)
ways = {
    "read": lambda first: os.pread(file, 1, first),
    "mapped": lambda first: mapped[first],
    "in a child": lambda first: os.fork() or (mapped[first], os._exit(0)),
    "ahead": lambda first: os.posix_fadvise(file, first, 4096, os.POSIX_FADV_WILLNEED),
    "advised": lambda first: mapped.madvise(mmap.MADV_WILLNEED, first, 4096),
}
for line in sys.stdin:
    way, first = line.rsplit(" ", 1)
    ways[way](int(first))
    if way == "in a child":
        os.wait()
    print("done", flush=True)
"""


@pytest.fixture
def unread(tmp_path):
    """4 MiB on a disk, no page of it in memory."""
    file = tmp_path / "library"
    file.write_bytes(os.urandom(4 << 20))
    forget_or_skip(file)
    return file


@pytest.fixture
def child(unread):
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(unread)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        yield process
        process.stdin.close()


@pytest.mark.parametrize("way", ["read", "mapped", "in a child", "ahead", "advised"])
def test_each_way_to_bring_a_page_into_memory_is_counted_and_a_page_that_is_there_is_not(child, way):
    descriptor = os.open(f"/proc/{child.pid}/fd/{child.stdout.readline().strip()}", os.O_RDONLY)
    pages = PagesRead(descriptor)
    read = []
    for place in (0, 1 << 20, 2 << 20, 2 << 20):
        before = pages.counted()
        child.stdin.write(f"{way} {place}\n")
        child.stdin.flush()
        assert child.stdout.readline() == "done\n"
        read.append(pages.counted() - before)
    pages.close()
    assert min(read[:3]) >= 1
    assert read[3] == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not look")
@pytest.mark.parametrize("closed", ["before the limit", "after the limit"])
def test_a_count_that_is_closed_to_its_parent_is_exceeded(closed):
    own = open_own()
    if (child := os.fork()) == 0:
        pages = PagesRead(own)
        if closed == "before the limit":
            os.setuid(65534)
        pages.limit(256)
        if closed == "after the limit":
            os.setuid(65534)
        os._exit(0 if pages.exceeded() else 1)
    os.close(own)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_process_that_is_gone_read_nothing_more(child):
    descriptor = os.open(f"/proc/{child.pid}/io", os.O_RDONLY)
    pages = PagesRead(descriptor)
    pages.limit(0)
    child.kill()
    child.wait()
    assert not pages.exceeded()
    pages.close()
