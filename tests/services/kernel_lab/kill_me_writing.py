"""Appends events to a ledger until it is killed: python -m tests.services.kernel_lab.kill_me_writing LEDGER NAME."""

import sys
from pathlib import Path

from services.kernel_lab.ledger import Event, EventKind, Ledger
from shared.kernel_lab.job import LabStatus


def event(name, number=0, **more):
    given = dict(
        kind=EventKind.VERIFY, status=LabStatus.OK, op="rmsnorm", candidate=name, candidate_sha256="a" * 64,
        fixed_sha256="b" * 64, hardware_key="cpu-test", headline=f"event {number}", details={"padding": "x" * 20_000},
    )  # fmt: skip
    return Event(**{**given, **more})


if __name__ == "__main__":
    ledger = Ledger(Path(sys.argv[1]))
    number = 0
    while True:
        ledger.append(event(sys.argv[2], number))
        print(number, flush=True)
        number += 1
