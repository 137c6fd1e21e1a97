"""Where the kernels that a recipe compiles are kept, and for whom."""

import shutil
from pathlib import Path

from shared.contracts import Job
from shared.files import sha256_file
from shared.settings import CHECKOUT, settings


def compile_cache(job: Job, scratch: Path) -> Path:
    """Where compiled kernels are kept. Only shipped recipes fill the cache of this machine; others work on a copy.

    A folder that outlives the run and that any recipe may write is a place to leave trained weights for the next run.
    """
    shared = settings().home / "cache"
    shared.mkdir(parents=True, exist_ok=True)
    if job.recipe_sha in {sha256_file(recipe) for recipe in (CHECKOUT / "services/trainer/recipes").glob("gpt_*.py")}:
        return shared
    return Path(shutil.copytree(shared, scratch / "cache", dirs_exist_ok=True))


def cache_environment(cache: Path) -> dict[str, str]:
    return {
        "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"),
        "TRITON_CACHE_DIR": str(cache / "triton"),
        "FLASH_ATTENTION_CUTE_DSL_CACHE_DIR": str(cache / "flash-attention"),
        "FLASH_ATTENTION_CUTE_DSL_CACHE_ENABLED": "1",
    }
