"""The evaluator's view of a recipe process: give it tokens, get logits. What it does wrong ends in Ended."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

from services.evaluator.messages import (
    ANSWERS,
    Digest,
    Digested,
    Forward,
    Forwarded,
    Load,
    Loaded,
    Opened,
    Serve,
    Serving,
)
from shared.contracts import Choice, Contract, Integrity, Job
from shared.engines import IMPORTED_LATE
from shared.engines.shared_buffer import SEALED, DeviceBuffer, HostBuffer
from shared.machine.device import Device
from shared.runs.directory import RunDirectory
from shared.sandbox.ending import Isolation, strongest
from shared.sandbox.launch import RecipeProcess, new_scratch
from shared.sandbox.preloaded import Preloaded

LATE = "had not answered by the end of ARE_EVAL_TIMEOUT_S"
FILE_NAMES, FILE_PAGES, NAMES_A_POINT = 32, 256, 3
"""how many calls may name a file once rows are shown, how many pages may come from a disk, and how many more names each
point of a curve may take, whose weights are a file: docs/security.md says what they could tell others"""

NO_HELPERS = {"TORCHINDUCTOR_COMPILE_THREADS": "1"}
"""a recipe that compiles does it in its own process, which has to be alone once rows are shown"""


KEEPS_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40)}
"""The C library keeps memory that a pass gave back. Else it asks the kernel for hundreds of megabytes in every pass,
and to clear them takes nearly half of a pass's processor time on a CPU. The numbers stay the same."""


class ForwardProcess:
    """One sandboxed process with the recipe and its weights, alone in the world while it lives.

    As a context manager it leaves nothing behind, also not what it prints, since it could print the validation rows.
    deadline: of the whole evaluation, in seconds of the monotonic clock. curve: other weights it will be asked to load,
    and none where it answers for the final ones.
    nursery: of `preloaded`
    """

    def __init__(
        self, run: RunDirectory, job: Job, *, weights: Path, vocab_size: int, shape_BT: tuple[int, int],
        deadline: float, secret: Sequence[Path], curve: Sequence[Path] = (), nursery: Preloaded | None = None,
    ):  # fmt: skip
        self.job, self.deadline = job, deadline
        self.num_names = FILE_NAMES + NAMES_A_POINT * len(curve)
        shape_BTV = (*shape_BT, vocab_size)
        self.tokens = HostBuffer.create(2 * shape_BT[0] * shape_BT[1])
        self.tokens_BT = self.tokens.mapped().view(np.uint16).reshape(shape_BT)
        self.host_logits = HostBuffer.create(4 * shape_BTV[0] * shape_BTV[1] * shape_BTV[2])
        mapped = self.host_logits.mapped().view(np.float32).reshape(shape_BTV) if SEALED else None
        self.logits_BTV = np.empty(shape_BTV, np.float32) if mapped is None else mapped
        self.device_logits, self.why_host = share_on_device(job.device, shape_BTV)
        self.request = Serve(
            job=job,
            recipe=str(run.recipe_file),
            weights=str(weights),
            vocab_size=vocab_size,
            batch_size=shape_BT[0],
            seq_len=shape_BT[1],
            ticket=self.device_logits.ticket if self.device_logits else None,
        )
        self.process = RecipeProcess(
            "services.evaluator.recipe_process",
            new_scratch(run.path),
            answers=ANSWERS,
            readable=(run.recipe_file, run.kernels_dir, weights, *curve),
            secret=secret,
            environment=environment(job),
            gpu=not Device.parse(job.device).is_cpu,
            nursery=nursery,
        )
        self._opened: Opened | None = None
        self._serving: Serving | None = None
        self.peak_vram_mb = 0.0

    def __enter__(self) -> "ForwardProcess":
        self.process.__enter__()
        try:
            self.process.send(self.request, self.tokens.descriptor, self.host_logits.descriptor)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.process.end()
        del self.logits_BTV  # before the next process needs as much memory
        self.tokens.close()
        self.host_logits.close()
        if self.device_logits:
            self.device_logits.close()

    @property
    def integrity(self) -> Integrity:
        return self.process.integrity

    @property
    def choices(self) -> tuple[Choice, ...]:
        """What was chosen for the process: its sandbox, and what the engine in it says of itself."""
        return (*self.process.choices, *self.serving.choices)

    def await_opened(self) -> Opened:
        """Waits until the engine is open; nothing of the recipe has run by then."""
        if self._opened is None:
            self._opened = self.process.await_opened(Opened, self.deadline - monotonic(), LATE)
        return self._opened

    @property
    def serving(self) -> Serving:
        """Waits until the recipe is loaded."""
        self.await_opened()
        if self._serving is None:
            self._serving = self._expect(Serving)
        return self._serving

    def logits(self, tokens_nT: np.ndarray) -> Any:
        """tokens [n <= B, T] -> logits [n, T, V], which the next call overwrites.

        They are still shared with the recipe's process, but for memory that is not sealed: that is copied first.
        The batch is always full, the last row repeated, so that a row's numbers do not depend on its company's size.
        """
        n = len(tokens_nT)
        self.tokens_BT[:n] = tokens_nT
        self.tokens_BT[n:] = tokens_nT[-1]
        on_device = self.serving.on_device
        self.peak_vram_mb = self._ask(Forward(), Forwarded).peak_vram_mb
        if on_device and self.device_logits:
            return self.device_logits.array[:n]
        if not SEALED:
            self.host_logits.read_into(self.logits_BTV[:n].data.cast("B"))
        return self.logits_BTV[:n]

    @property
    def import_s(self) -> float:
        """How long it took to import what this process had imported when it was started."""
        return self.process.nursery.import_s if self.process.nursery else 0.0

    def warm_up(self) -> None:
        """A pass over zeros, before it is shown a row: it may import, compile kernels and read libraries."""
        self.tokens_BT[:] = 0
        self._ask(Forward(), Forwarded)

    def limit_traces(self) -> None:
        """Before it is shown a row."""
        self.process.limit_traces(names=self.num_names, pages=FILE_PAGES)

    def load(self, weights: Path) -> None:
        assert self.serving
        read_through(weights)
        self._ask(Load(weights=str(weights)), Loaded)

    def weights_digest(self) -> str:
        return self._ask(Digest(), Digested).weights_digest

    def _ask(self, request: Contract, answer: type[Contract]) -> Any:
        self.process.send(request)
        return self._expect(answer)

    def _expect(self, answer: type[Contract]) -> Any:
        return self.process.expect(answer, self.deadline - monotonic(), LATE)


def preloaded(run: RunDirectory, job: Job) -> AbstractContextManager[Preloaded | None]:
    """A nursery for the processes of one evaluation; None where a fork cannot be alone, or might not work: MLX has
    threads once it is imported, and on a GPU it was never tried. CUDA works in no fork of a process that asked for it.
    """
    is_cpu = Device.parse(job.device).is_cpu
    if job.engine != "torch" or not is_cpu or strongest() is not Isolation.NAMESPACE:
        return nullcontext()
    modules = (f"shared.engines.{job.engine}_engine", *IMPORTED_LATE[job.engine])
    return Preloaded("services.evaluator.server", modules, new_scratch(run.path), environment(job))


def environment(job: Job) -> dict[str, str]:
    return NO_HELPERS | (KEEPS_MEMORY if Device.parse(job.device).is_cpu else {})


def read_through(file: Path) -> None:
    """Then it is in memory, and who opens it next reads nothing from the disk."""
    with open(file, "rb", buffering=0) as opened:
        while opened.read(1 << 24):
            pass


def share_on_device(device: str, shape: tuple[int, ...]) -> tuple[DeviceBuffer | None, str]:
    """A buffer for logits on the device, or None and the reason why the host's memory is used."""
    if not device.startswith("cuda"):
        return None, f"{device} works in host memory"
    from shared.engines import cuda_ipc

    return cuda_ipc.share_on_device(device, shape)


def batches(items: Sequence[int] | np.ndarray, size: int) -> list[np.ndarray]:
    return [np.asarray(items[start : start + size]) for start in range(0, len(items), size)]
