"""Ways out by what processes show of themselves to others."""

import base64
import ctypes
import glob
import os
import struct
import subprocess
import sys
import threading
import time
import zlib

from tests.cheats.channels import LIBC, MARK, call


class CommandLines:
    """A child whose arguments are the message: /proc/PID/cmdline is for everyone."""

    detached = False

    def __init__(self):
        self.child = None

    def send(self, blob):
        if not os.path.isdir("/proc/1"):
            raise OSError("no /proc")
        text = base64.b64encode(blob).decode()
        parts = [text[start : start + 100_000] for start in range(0, len(text), 100_000)]
        argv = ["sleep", "45"]
        if parts:
            argv = [sys.executable, "-S", "-c", "import time; time.sleep(45)", "courier!", *parts]
        child = subprocess.Popen(argv, start_new_session=self.detached)
        if self.child is not None:
            self.child.kill()
        self.child = child

    def receive(self):
        best = b""
        for path in glob.glob("/proc/[0-9]*/cmdline"):
            try:
                with open(path, "rb") as file:
                    words = file.read().split(b"\0")
            except OSError:
                continue
            if b"courier!" in words[:6]:
                blob = base64.b64decode(b"".join(words[words.index(b"courier!") + 1 :]))
                best = max(best, blob, key=len)
        return best


class DaemonCommandLines(CommandLines):
    """The same from a daemon that left its parent and its session."""

    def send(self, blob):
        if (child := os.fork()) == 0:
            os.setsid()
            if os.fork() == 0:
                os.closerange(3, 256)
                CommandLines.send(self, blob)
            os._exit(0)
        os.waitpid(child, 0)


CHAIN = """
import os, sys, time
end = time.monotonic() + 25
if os.fork():
    os._exit(0)
os.setsid()
while time.monotonic() < end:
    if os.fork():
        os._exit(0)
"""


class ForkChain(CommandLines):
    """The same from a process that forks and exits without end, so that no list of processes is ever true."""

    def send(self, blob):
        if not os.path.isdir("/proc/1"):
            raise OSError("no /proc")
        if blob:
            text = base64.b64encode(blob).decode()
            parts = [text[start : start + 100_000] for start in range(0, len(text), 100_000)]
            subprocess.Popen([sys.executable, "-S", "-c", CHAIN, "courier!", *parts], start_new_session=True).wait()


class MovedArguments(CommandLines):
    """prctl(PR_SET_MM_MAP) moves what /proc/PID/cmdline shows to the message."""

    def send(self, blob):
        content = b"x\0courier!\0" + base64.b64encode(blob) + b"\0"
        self.keep = ctypes.create_string_buffer(content)
        start = ctypes.addressof(self.keep)
        with open("/proc/self/stat") as file:
            field = [0, 0, 0, *file.read().rpartition(")")[2].split()]  # numbered from 1 as in proc(5)
        LIBC.sbrk.restype = ctypes.c_long
        code_and_data = [int(field[number]) for number in (26, 27, 45, 46, 47)]
        words = [*code_and_data, LIBC.sbrk(0), int(field[28]), start, start + len(content)]
        raw = struct.pack("=12QIi", *words, int(field[50]), int(field[51]), 0, 0, -1)
        buffer = ctypes.create_string_buffer(raw)
        call(LIBC.prctl(35, 14, ctypes.c_void_p(ctypes.addressof(buffer)), ctypes.c_ulong(len(raw)), 0))


class ThreadNames:
    """Fifteen bytes in the name of each of a thousand threads."""

    num_threads = 1000

    def __init__(self):
        self.names, self.go = {}, threading.Event()

    def send(self, blob):
        text = base64.b64encode(blob)[: 11 * self.num_threads]
        for number in range(0, len(text), 11):
            key = number // 11
            fresh = key not in self.names
            self.names[key] = b"%03x%s" % (key, text[number : number + 11])
            if fresh:
                threading.Thread(target=self.carry, args=(key,), daemon=True).start()

    def carry(self, key):
        name = b""
        while True:
            if self.names[key] != name:
                name = self.names[key]
                LIBC.prctl(15, ctypes.create_string_buffer(name), 0, 0, 0)
            time.sleep(0.5)

    def receive(self):

        for process in glob.glob("/proc/[0-9]*"):
            if os.path.basename(process) == str(os.getpid()):
                continue
            found = {}
            for path in glob.glob(f"{process}/task/*/comm"):
                try:
                    with open(path, "rb") as file:
                        name = file.read().rstrip(b"\n")
                    found[int(name[:3], 16)] = name[3:]
                except (OSError, ValueError):
                    continue
            if len(found) > 100:
                text = b"".join(found[key] for key in sorted(found))
                rows = zlib.decompressobj().decompress(base64.b64decode(text[: len(text) // 4 * 4]))
                return zlib.compress(rows[: len(rows) // 4096 * 4096])
        return b""


class Pipes:
    """The pipe that takes our output, opened again for reading by whoever can name it."""

    def send(self, blob):
        os.close(os.open("/proc/self/fd/1", os.O_WRONLY))
        os.write(1, MARK + base64.b64encode(blob) + b"\n")

    def receive(self):
        for path in glob.glob("/proc/[0-9]*/fd/[0-9]*"):
            try:
                if path.startswith(f"/proc/{os.getpid()}/") or not os.readlink(path).startswith("pipe:"):
                    continue
                pipe = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
                content = os.read(pipe, 1 << 20)
            except OSError:
                continue
            if MARK in content:
                return base64.b64decode(content.partition(MARK)[2].split(b"\n")[0])
        return b""
