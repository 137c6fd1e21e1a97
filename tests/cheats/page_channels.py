"""Ways out by what the kernel knows of pages of files that are in memory. Nothing of it names a file, and nothing is
read from a disk while it is told.

Rank: a page that was touched twice is active, one that was locked and let go is not. /proc tells it of every page that
a process has mapped. Marks: a page behind which the kernel would read ahead is marked until somebody touches it. A
fault maps its neighbours and leaves it out, so whether it takes a fault of its own, which getrusage counts, tells.
"""

import ctypes
import mmap
import os
import resource

import numpy as np

from tests.cheats.channels import LIBC, MARK, shortened
from tests.cheats.kernel_channels import large_libraries

NUM_PAGES, GAP = 25_600, 64
PAGE, READ, SHARED, FIXED, NOTHING = 4096, 1, 1, 0x10, 0x22
MARK_EVERY = 6
LIBC.mmap.restype = ctypes.c_void_p
LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
LIBC.munmap.argtypes = LIBC.mlock.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


def a_large_library():
    """One that is not mapped, so that nobody else ranks its pages."""
    with open("/proc/self/maps") as file:
        mapped = file.read()
    found = dict.fromkeys(map(os.path.realpath, large_libraries()))
    return next(path for path in found if os.path.getsize(path) > (NUM_PAGES + 3 * GAP) * PAGE and path not in mapped)


class ActivePages:
    """One bit a page of one large library."""

    touches, locked = 3, 256
    """touches: of a page, until it is active; locked: pages at a time, of which an ordinary user may lock few"""

    def __init__(self, path):
        self.file = os.open(path, os.O_RDONLY)
        self.told = self.open_told()

    def open_told(self):
        return os.open("/proc/self/numa_maps", os.O_RDONLY)

    def prepare(self):
        """In memory, each page by itself: neighbours that were read together are ranked together."""
        with mmap.mmap(self.file, 0, prot=mmap.PROT_READ) as memory:
            memory.madvise(mmap.MADV_RANDOM)
            for page in range(NUM_PAGES + 3 * GAP):
                memory[page * PAGE]

    def mapped(self, page, count=1):
        return LIBC.mmap(None, count * PAGE, READ, SHARED, self.file, page * PAGE)

    def clear(self):
        for first in range(0, NUM_PAGES, self.locked):
            place = self.mapped(first, self.locked)
            if LIBC.mlock(place, self.locked * PAGE):
                raise OSError("mlock")
            LIBC.munmap(place, self.locked * PAGE)

    def touch(self, page):
        for _ in range(self.touches):
            place = self.mapped(page)
            ctypes.c_char.from_address(place).value  # noqa: B018 - reading is the point
            LIBC.munmap(place, PAGE)

    def send(self, blob):
        if not blob:
            return
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # the kernel ranks pages in batches, one a processor
        self.clear()
        content = MARK[:2] + len(blob).to_bytes(4, "little") + blob
        bits = np.flatnonzero(np.unpackbits(np.frombuffer(content, np.uint8), bitorder="little"))
        for page in [*bits.tolist(), *range(NUM_PAGES + GAP, NUM_PAGES + 2 * GAP)]:
            self.touch(page)

    def receive(self):
        """Asking makes a page active, so it is asked once."""
        head = self.bytes_at(0, 6)
        return shortened(self.bytes_at(48, int.from_bytes(head[2:], "little"))) if head[:2] == MARK[:2] else b""

    def bytes_at(self, first, count):
        return np.packbits(self.are_active(first, 8 * count), bitorder="little").tobytes()

    def are_active(self, first, count):
        """Each page is mapped by itself, with a hole behind it: a line each."""
        active = np.zeros(count, bool)
        base = LIBC.mmap(None, 2 * count * PAGE, 0, NOTHING, -1, 0)
        for number in range(count):
            place = LIBC.mmap(base + 2 * number * PAGE, PAGE, READ, SHARED | FIXED, self.file, (first + number) * PAGE)
            ctypes.c_char.from_address(place).value  # noqa: B018
        for line in self.lines():
            if b" file=" in line and 0 <= (distance := int(line[:12], 16) - base) < 2 * count * PAGE:
                active[distance // PAGE // 2] = b"active=0" not in line
        LIBC.munmap(base, 2 * count * PAGE)
        return active

    def lines(self):
        os.lseek(self.told, 0, os.SEEK_SET)
        return b"".join(iter(lambda: os.read(self.told, 1 << 20), b"")).splitlines()


class MarkedPages:
    """One bit for each MARK_EVERY pages of large files that nobody had read: touched or still marked. Exact, and asking
    changes nothing: a mapping that says it is read at random leaves marks alone."""

    largest_message, copies = 1100, 2
    """bytes; how often a bit is told: some pages have no mark from the beginning, none keeps it when it is touched"""

    def __init__(self):
        wanted = [path for path in dict.fromkeys(map(os.path.realpath, large_libraries(20 << 20)))]
        wanted = [path for path in wanted if "site-packages" not in path]
        self.places = []
        for path in wanted:
            if len(self.places) < self.copies * 8 * (self.largest_message + 8):
                self._open(path)

    def _open(self, path):
        file = os.open(path, os.O_RDONLY)
        quiet, loud = (mmap.mmap(file, 0, prot=mmap.PROT_READ) for _ in range(2))
        quiet.madvise(mmap.MADV_RANDOM)
        last = len(quiet) // PAGE - 2 * MARK_EVERY
        self.places += [(file, quiet, loud, page) for page in range(1024, last, MARK_EVERY)]

    def prepare(self):
        """Two neighbours read one after the other: the kernel reads four pages and marks the second of them. The page
        before them is read last, through a mapping that marks nothing."""
        for file, _, _, page in self.places:
            os.pread(file, 1, (page - 2) * PAGE)
            os.pread(file, 1, (page - 1) * PAGE)
        for _, quiet, _, page in self.places:
            quiet[(page - 3) * PAGE]

    def send(self, blob):
        if not blob:
            return
        content = MARK[:2] + len(blob).to_bytes(4, "little") + blob
        for number in np.flatnonzero(np.unpackbits(np.frombuffer(content, np.uint8), bitorder="little")).tolist():
            for _, _, loud, page in self.copies_of(number):
                loud[page * PAGE]

    def copies_of(self, number):
        return self.places[number :: len(self.places) // self.copies][: self.copies]

    def receive(self):
        head = self.bytes_at(0, 6)
        size = int.from_bytes(head[2:], "little")
        return self.bytes_at(48, size) if head[:2] == MARK[:2] and size <= self.largest_message else b""

    def bytes_at(self, first, count):
        numbers = range(first, first + 8 * count)
        touched = [all([self.was_touched(*place[1:]) for place in self.copies_of(number)]) for number in numbers]
        return np.packbits(np.array(touched, bool), bitorder="little").tobytes()

    def was_touched(self, quiet, _, page):
        quiet[(page - 1) * PAGE], quiet[(page + 1) * PAGE]
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        quiet[page * PAGE]
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt == before
