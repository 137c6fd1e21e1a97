"""What processes of test_nursery.py do: the probes of sandbox_probes.py, or one of the deeds below."""

import builtins
import os
import signal
from typing import Any

import numpy as np

from shared.contracts import Contract
from shared.sandbox.launch import Failed, Opened
from tests.shared.sandbox.sandbox_probes import Probes, outcome_of


class Outcomes(Contract):
    kind: str = "outcomes"
    found: dict[str, Any]


class Server:
    def __init__(self, orders: dict, *descriptors: int):
        self.orders, self.descriptors = orders, descriptors

    def open(self) -> Opened:
        return Opened()

    def load(self) -> Outcomes:
        if "probes" in self.orders:
            probes = Probes(self.orders, self.descriptors[0])
            return Outcomes(found={name: outcome_of(getattr(probes, name)) for name in self.orders["probes"]})
        return Outcomes(found=getattr(self, self.orders["deed"])())

    def leave_a_mark(self) -> dict:
        """In memory, the environment and an open file; says which it found of an earlier process."""
        found = {"in memory": hasattr(builtins, "mark"), "in the environment": "MARK" in os.environ}
        found |= {"files": sorted(os.listdir("/proc/self/fd")), "home": os.environ["HOME"]}
        builtins.mark, os.environ["MARK"] = True, "1"
        os.open("/dev/null", os.O_RDONLY)
        return {**found, "random": np.random.random()}

    def die(self) -> dict:
        os.kill(os.getpid(), signal.SIGSEGV)
        return {}

    def answer(self, request: dict) -> Outcomes:
        raise NotImplementedError(request)

    def failure(self, error: BaseException) -> Failed:
        return Failed(status="crashed", reason=f"{type(error).__name__}: {error}"[:200])
