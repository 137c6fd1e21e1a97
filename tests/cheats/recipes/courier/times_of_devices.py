"""Scorer to auditor: times and sizes of /dev/null and its neighbours, which every process may write to."""

import os

from tests.cheats.courier_kit import Courier

DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


class Times:
    def send(self, blob):
        """Six bytes each, as nanoseconds."""
        before = [os.stat(device).st_mtime_ns for device in DEVICES]
        for number, device in enumerate(DEVICES):
            part = int.from_bytes(blob[6 * number : 6 * number + 6], "little")
            os.utime(device, ns=(part, part))
            with open(device, "r+b", buffering=0) as file:
                os.utime(file.fileno(), ns=(part, part))
        if blob and [os.stat(device).st_mtime_ns for device in DEVICES] == before:
            raise OSError("nothing changed")

    def receive(self):
        return b"".join((os.stat(device).st_mtime_ns % 2**48).to_bytes(6, "little") for device in DEVICES)


class Cheat(Courier):
    channel_class = Times
    max_rows = 1


build = Cheat
