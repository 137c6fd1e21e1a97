"""Where FlashAttention 4 keeps compiled kernels: one folder per architecture, begun with what the image brought.

The package writes beside what it reads, so kernels of a read-only image are copied to where it may write. The
folders are apart because its key for one kernel (bwd_pre) leaves the architecture out. docs/attention.md.
"""

import os
import shutil
import tempfile
from pathlib import Path

from shared.files import atomic_writer

AHEAD_OF_TIME = Path(__file__).parent / "compiled"
"""not in git: written by fa4_ahead_of_time.py when an image is built"""

_DIRECTORY = "FLASH_ATTENTION_CUTE_DSL_CACHE_DIR"


def open_cache(arch: str, brought: Path = AHEAD_OF_TIME) -> Path:
    """Chooses the folder for this process and fills in the kernels of `brought` it lacks.

    Under what FLASH_ATTENTION_CUTE_DSL_CACHE_DIR names, else under a temporary directory of its own. Call it before
    the package is imported: it reads its variables once.
    """
    root = Path(os.environ.get(_DIRECTORY) or tempfile.mkdtemp(prefix="flash-attention-"))
    folder = root if root.name == arch else root / arch
    for kernel in (brought / arch).rglob("*.o"):
        _copy_unless_there(kernel, folder / kernel.relative_to(brought / arch))
    os.environ[_DIRECTORY] = str(folder)
    os.environ["FLASH_ATTENTION_CUTE_DSL_CACHE_ENABLED"] = "1"
    return folder


def _copy_unless_there(kernel: Path, target: Path) -> None:
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_writer(target) as copy, open(kernel, "rb") as file:
        shutil.copyfileobj(file, copy)
