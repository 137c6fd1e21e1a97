"""Ways out by objects that the kernel keeps for everyone: locks, queues, keys, the page cache, who opened what."""

import base64
import ctypes
import fcntl
import glob
import mmap
import os
import socket
import stat
import struct
import sys
import threading
import time
import zlib

import numpy as np

from tests.cheats.channels import LIBC, MARK, call, shortened


class LockList:
    """Locks on an own file, their ranges the message; /proc/locks shows everyone's."""

    def __init__(self):
        self.file = open(os.environ["TMPDIR"] + "/locked", "w+b")  # noqa: SIM115

    def send(self, blob):
        for number in range(0, min(len(blob), 24_000), 4):
            word = int.from_bytes(blob[number : number + 4].ljust(4, b"\0"), "little")
            start = (number // 4 << 40) + (word << 2)
            fcntl.lockf(self.file, fcntl.LOCK_EX, 1, start)
        self.size = len(blob)
        fcntl.lockf(self.file, fcntl.LOCK_EX, 1, (1 << 60) + self.size)

    def receive(self):
        words, size, own = {}, 0, str(os.getpid())
        with open("/proc/locks") as file:
            for line in file:
                fields = line.split()
                if "POSIX" in fields and own not in fields and fields[-2].isdigit():
                    start = int(fields[-2])
                    if start >> 60:
                        size = start & (2**60 - 1)
                    elif start >> 34:
                        words[start >> 40] = (start >> 2) & 0xFFFFFFFF
        blob = b"".join(words.get(key, 0).to_bytes(4, "little") for key in range(len(words)))[:size]
        return shortened(blob) if size else b""


class LibraryLocks:
    """Read locks on a library file that every process may open, found again with F_GETLK."""

    def __init__(self):
        self.file = open(os.__file__, "rb")  # noqa: SIM115

    def send(self, blob):
        for number in range(0, min(len(blob), 12_000)):
            flock = struct.pack("hhqqi", fcntl.F_RDLCK, 0, (1 << 40) + number * 1024 + blob[number] * 2, 1, 0)
            fcntl.fcntl(self.file, fcntl.F_SETLK, flock)
        if blob:
            flock = struct.pack("hhqqi", fcntl.F_RDLCK, 0, (1 << 50) + min(len(blob), 12_000), 1, 0)
            fcntl.fcntl(self.file, fcntl.F_SETLK, flock)

    def held(self, start, length):
        query = struct.pack("hhqqi", fcntl.F_WRLCK, 0, start, length, 0)
        kind, _, found, _, _ = struct.unpack("hhqqi", fcntl.fcntl(self.file, fcntl.F_GETLK, query))
        return None if kind == fcntl.F_UNLCK else found

    def receive(self):
        end = self.held(1 << 50, 1 << 20)
        if end is None:
            return b""
        size = end - (1 << 50)
        places = [self.held((1 << 40) + number * 1024, 1024) for number in range(size)]
        return shortened(bytes(((place or 0) % 1024) // 2 for place in places))


class SystemV:
    """Shared memory segments with agreed keys, which outlive every process."""

    key, size = 0x41524531, 4 << 20

    def __init__(self):
        LIBC.shmat.restype = ctypes.c_void_p

    def attach(self, flags):
        segment = call(LIBC.shmget(self.key, self.size, flags))
        address = LIBC.shmat(segment, None, 0)
        if address in (None, 2**64 - 1):
            raise OSError("shmat")
        return address

    def send(self, blob):
        content = MARK + len(blob).to_bytes(8, "little") + blob
        if blob:
            ctypes.memmove(self.attach(0o1666), content, len(content))
        else:
            call(LIBC.shmget(self.key, self.size, 0o1666))

    def receive(self):
        try:
            address = self.attach(0o666)
        except OSError:
            return b""
        head = ctypes.string_at(address, 16)
        return ctypes.string_at(address + 16, int.from_bytes(head[8:], "little")) if head.startswith(MARK) else b""


class SystemVQueues:
    """The same in messages of System V queues."""

    def send(self, blob):
        for number in range(0, min(len(blob), 16_000), 8000):
            queue = call(LIBC.msgget(0x41524600 + number // 8000, 0o1666))
            part = blob[number : number + 8000]
            call(LIBC.msgsnd(queue, ctypes.create_string_buffer(struct.pack("l", 1) + part), len(part), 0o4000))

    def receive(self):
        parts = []
        for key in range(2):
            queue = LIBC.msgget(0x41524600 + key, 0o666)
            buffer = ctypes.create_string_buffer(9000)
            size = -1
            while queue >= 0 and (got := LIBC.msgrcv(queue, buffer, 8000, 0, 0o4000)) >= 0:
                size, last = got, buffer.raw[8 : 8 + got]
            if size >= 0:
                parts.append(last)
        return shortened(b"".join(parts)) if parts else b""


class PosixQueues:
    """POSIX message queues, by mq_open without a mount."""

    def __init__(self):
        self.rt = ctypes.CDLL("librt.so.1", use_errno=True)
        self.rt.mq_send.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint]

    def send(self, blob):
        queue = call(self.rt.mq_open(b"/courier", os.O_CREAT | os.O_RDWR | os.O_NONBLOCK, 0o666, None))
        for number in range(0, min(len(blob), 80_000), 8000):
            call(self.rt.mq_send(queue, blob[number : number + 8000], len(blob[number : number + 8000]), 1))

    def receive(self):
        queue = self.rt.mq_open(b"/courier", os.O_RDWR | os.O_NONBLOCK)
        buffer, parts = ctypes.create_string_buffer(8192), []
        while queue >= 0 and (size := self.rt.mq_receive(queue, buffer, 8192, None)) >= 0:
            parts.append(buffer.raw[:size])
        return shortened(b"".join(parts)) if parts else b""


class AbstractNames:
    """Names of abstract sockets that are only bound, never connected to; /proc/net/unix lists them."""

    def __init__(self):
        self.held = []

    def send(self, blob):
        text = base64.b64encode(blob[:30_000]).decode()
        for number in range(0, len(text), 80):
            connection = socket.socket(socket.AF_UNIX)
            connection.bind(f"\0courier{number // 80:05d}.{len(blob):07d}.{text[number : number + 80]}")
            self.held.append(connection)

    def receive(self):
        newest = {}
        with open("/proc/net/unix") as file:
            for line in file:
                if "@courier" in line:
                    number, size, text = line.rpartition("@courier")[2].strip().split(".")
                    newest.setdefault(size, {})[int(number)] = text
        if not newest:
            return b""
        parts = newest[max(newest)]
        return shortened(base64.b64decode("".join(parts[key] for key in sorted(parts))))


class PageCache:
    """Which pages of library files lie in the page cache: one bit a page, read with RWF_NOWAIT.

    It needs files that can be read and nothing else, and outlives processes, containers and runs.
    """

    capacity = 6000
    """bytes; reading pages from a disk takes its time"""
    copies = 2
    """what others read meanwhile only adds warm pages: a bit counts when it is set in every copy"""

    def __init__(self):
        with open("/proc/self/maps") as file:
            mapped = {line.rpartition(" ")[2].strip() for line in file}
        roots = [
            *(path for path in sys.path if path),
            f"{sys.base_prefix}/lib",
            "/usr/lib",
            "/usr/bin",
            "/usr/local/lib",
        ]
        patterns = ("*", "*/*.so*", "*/lib/*", "x86_64-linux-gnu/*", "aarch64-linux-gnu/*")
        found = {path for root in roots for pattern in patterns for path in glob.glob(f"{root}/{pattern}")}
        sizes = {os.path.realpath(path): os.path.getsize(path) for path in found if os.path.isfile(path)}
        sizes = {path: size for path, size in sizes.items() if size > 1 << 20 and path not in mapped}
        self.pages = []
        for path in sorted(sizes, key=lambda path: (-sizes[path], path)):
            if len(self.pages) < 8 * self.capacity * self.copies:
                file = os.open(path, os.O_RDONLY)
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)
                self.pages += [(file, number * 4096) for number in range(sizes[path] // 4096)]

    def send(self, blob):
        if not blob:
            return
        content = MARK[:2] + min(len(blob), self.capacity - 6).to_bytes(4, "little") + blob[: self.capacity - 6]
        for file in {file for file, _ in self.pages}:
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        for number in range(8 * len(content)):
            for copy in range(self.copies if content[number // 8] >> number % 8 & 1 else 0):
                file, place = self.pages[copy * 8 * self.capacity + number]
                os.pread(file, 1, place)

    def receive(self):
        num_bits = 8 * self.capacity
        warm = [self.is_warm(*page) for page in self.pages[: num_bits * self.copies]]
        bits = [all(warm[number::num_bits]) for number in range(num_bits)]
        content = bytes(sum(bits[8 * k + j] << j for j in range(8)) for k in range(len(bits) // 8))
        if not content.startswith(MARK[:2]):
            return b""
        return self.decoded(content[6 : 6 + int.from_bytes(content[2:6], "little")])

    def is_warm(self, file, place):
        """Only the first answer is true: asking makes the kernel read the page."""
        try:
            os.preadv(file, [bytearray(1)], place, os.RWF_NOWAIT)
        except BlockingIOError:
            return False
        return True

    def decoded(self, blob):
        return shortened(blob)


class WeightsInThePageCache(PageCache):
    """Four bits a weight."""

    capacity, copies = 16_000, 1

    def decoded(self, blob):
        return blob


class OpenedNames:
    """inotify on a folder of a library: which of its files another process opens is the message.

    Half a byte an opening, from one half of the names and from the other in turn: the kernel merges equal events.
    """

    def __init__(self):
        self.folder = os.path.dirname(os.__file__) + "/encodings"
        files = [entry.name for entry in os.scandir(self.folder) if entry.is_file()]
        self.names = sorted(files)[:33]
        self.watch = call(LIBC.inotify_init1(0o4000))
        call(LIBC.inotify_add_watch(self.watch, self.folder.encode(), 0x20))
        self.buffer, self.sending = [], False
        threading.Thread(target=self.collect, daemon=True).start()

    def collect(self):
        while not self.sending:
            try:
                chunk = os.read(self.watch, 1 << 20)
            except BlockingIOError:
                time.sleep(0.002)
                continue
            start = 0
            while start < len(chunk):
                size = struct.unpack_from("iIII", chunk, start)[3]
                self.buffer.append(chunk[start + 16 : start + 16 + size].rstrip(b"\0").decode())
                start += 16 + size

    def send(self, blob):
        if not blob:
            return
        self.sending = True
        self.open_name(32)
        for number, byte in enumerate(blob):
            self.open_name(byte >> 4)
            self.open_name(16 + (byte & 15))
            if number % 250 == 249:
                time.sleep(0.01)  # the kernel's queue holds 16,384 events
        self.open_name(32)

    def open_name(self, digit):
        os.close(os.open(f"{self.folder}/{self.names[digit]}", os.O_RDONLY))

    def receive(self):
        time.sleep(0.1)
        place = {name: number for number, name in enumerate(self.names)}
        digits = [place[name] for name in self.buffer if name in place]
        parts = [[]]
        for digit in digits:
            parts.append([]) if digit == 32 else parts[-1].append(digit & 15)
        best = max(parts, key=len)
        return bytes(high << 4 | low for high, low in zip(best[::2], best[1::2], strict=False))


class Keyring:
    """A key of the user's keyring, which outlives processes."""

    def send(self, blob):
        for number in range(0, min(len(blob), 16_000) + 1, 8000):
            part = b"x" + blob[number : number + 8000]
            call(LIBC.syscall(248, b"user", b"courier%d" % (number // 8000), part, len(part), -4))

    def receive(self):
        parts = []
        for number in range(3):
            key = LIBC.syscall(249, b"user", b"courier%d" % number, None, 0)
            buffer = ctypes.create_string_buffer(9000)
            if key < 0 or (size := LIBC.syscall(250, 11, key, buffer, 9000)) < 0:
                break
            parts.append(buffer.raw[1:size])
        return shortened(b"".join(parts)) if parts else b""


class AbsentNames:
    """Which names that do not exist were asked for: the kernel remembers the answer, and gives it three times faster.

    One bit a name, in a folder that all may read. It needs access() and a clock, and outlives processes and runs.
    """

    folder, copies = "/usr/lib", 2

    def __init__(self, label=""):
        self.stem = f"{self.folder}/.{label or hash_of(__file__)}-"

    def send(self, blob):
        if blob:
            content = MARK[:2] + len(blob).to_bytes(4, "little") + blob
            bits = np.unpackbits(np.frombuffer(content, np.uint8), bitorder="little")
            for number in np.flatnonzero(bits).tolist():
                for copy in range(self.copies):
                    os.access(f"{self.stem}{number}-{copy}", os.F_OK)

    def receive(self):
        """Asking is telling: who finds the first names fresh is the sender, and has left word by asking."""
        limit = self.limit_ns()
        if np.median(self.times_ns([f"{self.stem}first-{number}" for number in range(32)])) > limit:
            return b""
        head = self.bytes_at(0, 6, limit)
        if head[:2] != MARK[:2]:
            return b""
        return self.bytes_at(48, int.from_bytes(head[2:], "little"), limit)

    def limit_ns(self):
        """Between a name that was never asked for and the same one again."""
        names = [f"{self.stem}{os.urandom(8).hex()}" for _ in range(400)]
        return (np.median(self.times_ns(names)) + np.median(self.times_ns(names))) / 2

    def times_ns(self, names):
        took = []
        for name in names:
            started = time.perf_counter_ns()
            os.access(name, os.F_OK)
            took.append(time.perf_counter_ns() - started)
        return np.array(took)

    def bytes_at(self, first, count, limit):
        """A bit is set when any copy was fast: other work on this machine makes an answer slow, never fast."""
        numbers = range(first, first + 8 * count)
        fast = [self.times_ns([f"{self.stem}{n}-{copy}" for n in numbers]) < limit for copy in range(self.copies)]
        return np.packbits(np.any(fast, axis=0), bitorder="little").tobytes()


def large_libraries(smallest=3 << 20):
    """Paths of files that a recipe may read and has not mapped, in the same order for everyone."""
    with open("/proc/self/maps") as file:
        mapped = {line.rpartition(" ")[2].strip() for line in file}
    roots = [path for path in sys.path if path] + ["/usr/lib", "/usr/local"]
    roots += glob.glob(f"{sys.base_prefix}/lib/python3*/site-packages")
    found = sorted({path for root in roots for path in glob.glob(f"{root}/*/*/*")} - mapped)
    status = {path: os.lstat(path) for path in found}
    return [path for path in found if status[path].st_size >= smallest and stat.S_ISREG(status[path].st_mode)]


class UnreadPages:
    """Which pages of files that nobody had read were read: one that must come from the disk takes thirty times longer,
    once. The files are mapped before names are counted; looking at a page names nothing. One bit a page.

    All go through the files in the same order. Who meets a file with cold pages before a message is the sender.
    """

    head, copies, limit_ns = 16, 2, 15_000

    def __init__(self):
        self.files, self.at, self.memory = [], 0, None
        for path in large_libraries():
            with open(path, "rb") as file:
                self.files.append(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
            self.files[-1].madvise(mmap.MADV_RANDOM)

    def times_ns(self, pages):
        took = []
        for page in pages:
            started = time.perf_counter_ns()
            self.memory[page << 12]
            took.append(time.perf_counter_ns() - started)
        return np.array(took)

    def is_cold(self, number):
        self.memory = self.files[number]
        return np.median(self.times_ns(range(self.head))) > self.limit_ns

    def send(self, blob):
        first = self.at
        while blob and self.at < len(self.files):
            if self.is_cold(self.at) or self.at == first:
                room = (len(self.memory) // 4096 - self.head) // self.copies // 8 - 6
                self.write(MARK[:4] + len(blob[:room]).to_bytes(2, "little") + blob[:room])
                blob = blob[room:]
            self.at += 1

    def write(self, content):
        bits = np.flatnonzero(np.unpackbits(np.frombuffer(content, np.uint8), bitorder="little"))
        for copy in range(self.copies):
            self.times_ns((self.head + self.copies * bits + copy).tolist())

    def receive(self):
        parts = []
        while self.at < len(self.files) and not self.is_cold(self.at):
            start = self.bytes_at(0, 6)
            parts.append(self.bytes_at(48, int.from_bytes(start[4:], "little")) if start[:4] == MARK[:4] else b"")
            self.at += 1
        return b"".join(parts)

    def bytes_at(self, bit, count):
        """A bit is set when any copy was fast: other work on this machine makes an answer slow, never fast."""
        first = self.head + self.copies * bit
        fast = self.times_ns(range(first, first + 8 * count * self.copies)) < self.limit_ns
        return np.packbits(fast.reshape(-1, self.copies).any(1), bitorder="little").tobytes()


def hash_of(text):
    return zlib.crc32(text.encode())
