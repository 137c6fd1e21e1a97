"""How long a CUDA device computed, told by its driver, and whether this family of processes computes on another one.

Compiling keeps the processor busy and the GPU idle; training does not. So where a recipe's process is given time to
compile, the seconds in which the GPU computed are what may have been training. A recipe cannot write what is read here.
"""

from contextlib import suppress
from threading import Event, Lock, Thread
from time import monotonic

from shared.machine.device import Device
from shared.machine.device_lock import own_tree
from shared.machine.hardware import visible_gpus
from shared.machine.nvml import busy_share, computing_since, session

EVERY_S = 0.15
"""the driver's window is a sixth of a second on most devices"""
OTHERS_EVERY_S = 2.0
STRAYS_AFTER = 3
"""looks that saw this family compute on another GPU: a library may do so once, by mistake"""


class GpuWatch:
    """From its making until it is closed; a thread looks on. Of a device that is not CUDA nothing is known."""

    def __init__(self, device: str):
        asked, gpus = Device.parse(device), visible_gpus()
        here = asked.is_cuda and asked.index < len(gpus)
        self._uuid = gpus[asked.index].uuid if here else None
        self._others = {gpu.uuid: 0 for gpu in gpus if here and gpu.uuid != self._uuid}
        """until when each was looked at, microseconds of its driver's clock"""
        self._busy_s: float | None = 0.0 if here else None
        self._looked_at = self._others_at = monotonic()
        self._seen_elsewhere = 0
        self._ended, self._lock = Event(), Lock()
        if here:
            Thread(target=self._watch, name="gpu-watch", daemon=True).start()

    def close(self) -> None:
        self._ended.set()

    def busy_s(self) -> float | None:
        """Seconds so far. None once the driver has refused to tell."""
        self.look()
        return self._busy_s

    def _watch(self) -> None:
        import pynvml

        with suppress(pynvml.NVMLError), session():  # opening one takes longer than a look
            while not self._ended.wait(EVERY_S):
                self.look()

    def look(self) -> None:
        if self._uuid is None:
            return
        with self._lock:
            now = monotonic()
            share = busy_share(self._uuid)
            if share is None or self._busy_s is None:
                self._busy_s = None
            else:
                self._busy_s += share * (now - self._looked_at)
            self._looked_at = now
            if self._others and now - self._others_at >= OTHERS_EVERY_S:
                self._others_at = now
                self._look_at_others()

    def _look_at_others(self) -> None:
        ours, elsewhere = own_tree(), set[int]()
        for uuid, since_us in self._others.items():
            computing, self._others[uuid] = computing_since(uuid, since_us)
            elsewhere |= ours & computing
        self._seen_elsewhere += bool(elsewhere)

    @property
    def strayed(self) -> bool:
        """Whether processes of this family computed on other GPUs of this machine. Natively only: in a container a
        process has another id than the driver knows it by, and other GPUs are out of reach."""
        return self._seen_elsewhere >= STRAYS_AFTER
