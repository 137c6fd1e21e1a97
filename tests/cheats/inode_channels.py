"""Ways out by what a file system keeps beside a file's content: flags, generation numbers, hints about its life.

The owner of a file may set them on a file that is open for reading only, and nothing gives them back. Library files
have the owner of the checkout, or root. Reading needs no more than opening.
"""

import ctypes
import fcntl
import os
import random
import resource
import struct
import time

import numpy as np

from tests.cheats.channels import LIBC, MARK, call, shortened

FOLDERS = ("/usr/include", "/usr/lib/python3", "/usr/lib/gcc")


class FileWords:
    """`bits` of every file of the system's folders; subclasses say where they are."""

    bits, most_files = 1, 12_000

    def __init__(self):
        found = [os.path.join(place, name) for root in FOLDERS for place, _, names in os.walk(root) for name in names]
        self.paths = sorted(path for path in found if not os.path.islink(path))[: self.most_files]
        self.write(self.paths[0], self.read(self.paths[0]))

    def send(self, blob):
        if blob:
            content = MARK[:2] + len(blob).to_bytes(4, "little") + blob
            bits = np.unpackbits(np.frombuffer(content, np.uint8), bitorder="little")
            bits = np.pad(bits, (0, -len(bits) % self.bits)).reshape(-1, self.bits)
            words = bits @ (1 << np.arange(self.bits, dtype=np.int64))
            for path, word in zip(self.paths, words.tolist(), strict=False):
                self.write(path, word)

    def receive(self):
        words = np.array([self.read(path) for path in self.paths], dtype=np.int64)
        bits = (words[:, None] >> np.arange(self.bits)) & 1
        content = np.packbits(bits.astype(np.uint8).ravel(), bitorder="little").tobytes()
        if not content.startswith(MARK[:2]):
            return b""
        for path in self.paths:
            self.write(path, 0)
        return self.decoded(content[6 : 6 + int.from_bytes(content[2:6], "little")])

    def decoded(self, blob):
        return shortened(blob)

    def asked(self, path, ask):
        file = os.open(path, os.O_RDONLY)
        try:
            return ask(file)
        finally:
            os.close(file)


class Flags(FileWords):
    """Whether a backup may leave a file out, and whether its reading is noted (chattr +d, +A)."""

    bits = 2
    get, put, first = 0x80086601, 0x40086602, 0x40

    def read(self, path):
        answer = self.asked(path, lambda file: fcntl.ioctl(file, self.get, bytes(8)))
        return struct.unpack("q", answer)[0] // self.first % (1 << self.bits)

    def write(self, path, word):
        def ask(file):
            (flags,) = struct.unpack("q", fcntl.ioctl(file, self.get, bytes(8)))
            flags = flags & ~(self.first * ((1 << self.bits) - 1)) | word * self.first
            return fcntl.ioctl(file, self.put, struct.pack("q", flags))

        self.asked(path, ask)


class FlagsByPath(FileWords):
    """The same flags with the calls that take a name (file_getattr and file_setattr, Linux 6.17)."""

    bits = 2
    get, put, first = 468, 469, 0x40

    def ask_by_name(self, number, path, attributes):
        call(LIBC.syscall(ctypes.c_long(number), -100, path.encode(), attributes, ctypes.c_long(24), 0))

    def read(self, path):
        attributes = ctypes.create_string_buffer(24)
        self.ask_by_name(self.get, path, attributes)
        return struct.unpack_from("Q", attributes)[0] // self.first % (1 << self.bits)

    def write(self, path, word):
        attributes = ctypes.create_string_buffer(24)
        self.ask_by_name(self.get, path, attributes)
        (flags,) = struct.unpack_from("Q", attributes)
        struct.pack_into("Q", attributes, 0, flags & ~(self.first * 3) | word * self.first)
        self.ask_by_name(self.put, path, attributes)


class Generations(FileWords):
    """The number that tells a file from an earlier one in the same place (chattr -v): 31 bits."""

    bits = 31
    get, put = 0x80087601, 0x40087602

    def read(self, path):
        answer = self.asked(path, lambda file: fcntl.ioctl(file, self.get, bytes(8)))
        return struct.unpack("q", answer)[0] & 0x7FFFFFFF

    def write(self, path, word):
        self.asked(path, lambda file: fcntl.ioctl(file, self.put, struct.pack("q", word)))


class WeightsInGenerations(Generations):
    def decoded(self, blob):
        return blob


class LifeHints(FileWords):
    """How long data of a file may live (F_SET_RW_HINT): the kernel remembers it as long as it remembers the file."""

    bits = 2
    get, put = 1035, 1036

    def read(self, path):
        hint = struct.unpack("Q", self.asked(path, lambda file: fcntl.fcntl(file, self.get, bytes(8))))[0]
        return max(0, hint - 2)

    def write(self, path, word):
        self.asked(path, lambda file: fcntl.fcntl(file, self.put, struct.pack("Q", word + 2)))


class SystemControls:
    """Names and patterns of the system, which user 0 may write without any capability: host, domain, core files."""

    paths = tuple(f"/proc/sys/kernel/{name}" for name in ("domainname", "hostname", "core_pattern", "modprobe"))
    paths += ("/proc/sys/vm/overcommit_ratio", "/sys/kernel/mm/transparent_hugepage/khugepaged/pages_to_scan")

    def send(self, blob):
        """The first that opens is enough."""
        for path in self.paths:
            try:
                with open(path, "r+b", buffering=0) as file:
                    kept = file.read(64)
                    file.seek(0)
                    file.write(kept)
                    self.path = path
                    return
            except OSError as error:
                refusal = error
        raise refusal

    def receive(self):
        return b""


class SoughtFiles:
    """Whether somebody asked where the data of a file ends: the kernel keeps what it found, and answers twice as fast
    for as long as it knows the file. One bit a file, where nobody has read it; all are open before names are counted.
    """

    folders = ("/usr/include", "/usr/lib", "/usr/local")
    copies_of_head, copies = 8, 2
    """of each of the first 32 bits, and of the others"""

    def __init__(self, num_bytes, key):
        """key: of the message, since a file says something once."""
        self.copies_of = np.array([self.copies_of_head] * 32 + [self.copies] * (8 * num_bytes - 32))
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        os.lseek(os.open(os.__file__, os.O_RDONLY), 0, os.SEEK_HOLE)
        self.files = [os.open(path, os.O_RDONLY) for path in self.paths(key)]

    def paths(self, key):
        found = []
        for root in self.folders:
            for place, _, names in os.walk(root):
                found += [path for name in names if not os.path.islink(path := os.path.join(place, name))]
        count = min(len(found), int(self.copies_of.sum()))
        return random.Random(key).sample(sorted(found), count)

    def send(self, blob):
        bits = np.unpackbits(np.frombuffer(blob, np.uint8), bitorder="little")
        for file, bit in zip(self.files, np.repeat(bits, self.copies_of).tolist(), strict=False):
            if bit:
                self.took_ns(file)

    def receive(self):
        took = np.array([self.took_ns(file) for file in self.files], float).clip(0, 5000)
        of_bit = np.add.reduceat(took, np.cumsum(self.copies_of) - self.copies_of) / self.copies_of
        halves = np.sort(of_bit)
        limit = (halves[: len(halves) // 2].mean() + halves[len(halves) // 2 :].mean()) / 2
        return np.packbits(of_bit < limit, bitorder="little").tobytes()

    def took_ns(self, file):
        started = time.perf_counter_ns()
        try:
            os.lseek(file, 0, os.SEEK_HOLE)
        except OSError as error:
            if error.errno != 6:  # an empty file has no end of data
                raise
        return time.perf_counter_ns() - started
