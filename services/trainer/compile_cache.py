"""Where the kernels that a recipe compiles are kept, and for whom.

Only shipped recipes with shipped kernels fill the cache of this machine. Others begin with a copy of it, or of what an
earlier run of the same recipe had compiled (kept_kernels.py): a folder that outlives the run and that any recipe may
write is a place to leave trained weights for the next run. On a CPU, where compiling counts as training, all recipes
are alike in this: the shipped ones would win by the seconds that they need not compile.
"""

import os
import pwd
import shutil
from pathlib import Path

from services.trainer import kept_kernels
from services.trainer.kept_kernels import Kept
from services.trainer.limits import is_eager, startup_limit_s
from shared.contracts import Choice, Job
from shared.machine.device import Device
from shared.runs.shipped import is_shipped, other_kernels
from shared.sandbox.strangers_folder import Refused
from shared.settings import settings

MOST_OF_THE_LIMIT = 0.5
"""of the start-up limit may be spent on what is kept, so that whoever begins with it has at least as long again"""


class CompileCache:
    """The folder that one run compiles into. began_with: what an earlier run left for it, if anything.

    The folder is opened before a recipe can replace it, and read through that descriptor alone.
    choices: of the run's record, where it is noted with what the run began and what was kept of it.
    tries_kernels: the run has kernels of its own, so its process holds what nobody shipped, whatever its recipe.
    """

    def __init__(self, job: Job, scratch: Path, choices: list[Choice], *, tries_kernels: bool = False):
        self.job, self.choices = job, choices
        self.began_with: Kept | None = None
        others = tries_kernels or not is_shipped(job)
        self.is_private = Device.parse(job.device).is_cpu or others or bool(other_kernels())
        self.keeps = self.is_private and not tries_kernels and not is_eager(job) and settings().keep_kernels_gb > 0
        self.key = kept_kernels.key_of(job) if self.keeps else ""
        self.folder = self._private(scratch / "cache") if self.is_private else _shared()
        if Device.parse(job.device).is_cpu and not is_eager(job):
            _link_headers(scratch / "tmp", self.folder / "headers")
        self.descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)

    def close(self) -> None:
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _private(self, place: Path) -> Path:
        if self.keeps:
            self._begin_with_kept(place)
        return place if self.began_with else Path(shutil.copytree(_shared(), place))

    def _begin_with_kept(self, place: Path) -> None:
        try:
            self.began_with = kept_kernels.take(self.key, place)
        except OSError as error:
            self._note("not used", f"what is kept could not be copied: {error}")
        except kept_kernels.Damaged as error:
            self._note("removed", f"what an earlier run of this recipe had left is damaged: {error}")
        if self.began_with:
            self._note(
                f"of run {self.began_with.run_id}",
                f"an earlier run of this recipe had compiled them after {self.began_with.startup_seconds:.1f} s, "
                "which count as start-up of this run too",
            )

    @property
    def startup_limit_s(self) -> float:
        """Longest time to a warmed-up recipe. The kept kernels count: they may hold its work."""
        return startup_limit_s(self.job) - self.kept_s

    @property
    def kept_s(self) -> float:
        """How long the run that made the kept kernels took to start."""
        return self.began_with.startup_seconds if self.began_with else 0.0

    @property
    def kept_early_s(self) -> float:
        """As much of that as may have been training."""
        return self.began_with.early_seconds if self.began_with else 0.0

    def keep(self, run_id: str, started: float, early_s: float) -> None:
        """For the next run of the recipe. Call it before the recipe's process gets a row or a checkpoint.

        started: of the monotonic clock. early_s: seconds before the clock that may have been training.
        Nothing is kept of a run that began with what is kept: what was there adds up to no more than one start-up.
        """
        if not self.keeps or self.began_with:
            return
        deadline = started + MOST_OF_THE_LIMIT * startup_limit_s(self.job)
        try:
            if kept_kernels.keep(self.key, self.descriptor, run_id, started, deadline, early_s):
                self._note("kept", "the next run of this recipe with these settings begins with them")
        except (Refused, OSError) as error:
            self._note("not kept", f"the cache could not be copied for later runs: {error}")

    def _note(self, chosen: str, reason: str) -> None:
        self.choices.append(Choice(what="compiled kernels", chosen=chosen, reason=reason))

    @property
    def environment(self) -> dict[str, str]:
        return {
            "TORCHINDUCTOR_CACHE_DIR": str(self.folder / "inductor"),
            "TRITON_CACHE_DIR": str(self.folder / "triton"),
            "FLASH_ATTENTION_CUTE_DSL_CACHE_DIR": str(self.folder / "flash-attention"),
            "FLASH_ATTENTION_CUTE_DSL_CACHE_ENABLED": "1",
        }


def _link_headers(temporary: Path, headers: Path) -> None:
    """PyTorch compiles a header for all of its C++ kernels (seconds, 156 MB), and always below TMPDIR.

    It does so even where every kernel is there. In a version that looks elsewhere only these seconds are lost.
    """
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = f"uid_{os.getuid()}"
    place = temporary / f"torchinductor_{user}"
    place.mkdir(parents=True)
    headers.mkdir(exist_ok=True)
    (place / "precompiled_headers").symlink_to(headers)


def _shared() -> Path:
    shared = settings().home / "cache" / "shipped"
    shared.mkdir(parents=True, exist_ok=True)
    return shared
