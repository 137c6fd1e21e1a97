"""When others had so much of the processors that a run on them says less of its recipe than its budget promises."""

from shared.machine.device import Device

LARGEST_SHARE = 0.1
"""of all processor time of the machine, used by other processes or stolen by the host"""


def is_crowded(device: str, foreign: float | None, stolen: float | None) -> bool:
    """None: nobody measured it. What trains on a GPU is left in peace by the processors."""
    return Device.parse(device).is_cpu and (foreign or 0.0) + (stolen or 0.0) > LARGEST_SHARE
