"""Run in an image with Nsight by tests/stack/test_nsight.py: the lab's own commands, told that the device is CUDA.

Prints {"which": ..., "capture": answer, "deep-profile": answer, "closed": [status, reason]} as one line of JSON.
"""

import json
import os
import shutil
from contextlib import nullcontext
from types import SimpleNamespace

from services.kernel_lab import capture, deep_profile
from services.kernel_lab.ledger import Ledger
from services.kernel_lab.subject import find
from services.kernel_lab.surroundings import Missing
from shared.kernel_lab.job import Capture, DeepProfile

AROUND = SimpleNamespace(device="cuda:0", hardware_key="a-gpu")
DESK = SimpleNamespace(
    around=lambda device: AROUND,
    subject=lambda candidate: find(candidate, Ledger()),
    device_held=lambda device: nullcontext(),
    place_for=lambda language, device: nullcontext(AROUND),
    note=lambda *what: None,
)
KERNEL = DeepProfile(candidate="cross_entropy_full/torch_chunked")


def closed() -> tuple[str, str]:
    """Where the host keeps its counters to itself."""
    os.environ["COUNTERS"] = "closed"
    try:
        deep_profile.answer(KERNEL, DESK)
    except Missing as missing:
        return missing.status, str(missing)
    raise AssertionError("ncu was refused, and the lab did not say so")


print(
    json.dumps(
        {
            "which": [shutil.which("nsys"), shutil.which("ncu")],
            "capture": capture.answer(Capture(preset="m5-tiny"), DESK).model_dump(mode="json"),
            "deep-profile": deep_profile.answer(KERNEL, DESK).model_dump(mode="json"),
            "closed": closed(),
        }
    )
)
