"""The Hugging Face hub behind the seam of climbmix.py: everything that touches the network is here."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import HfApi, RepoFile, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError, RepositoryNotFoundError
from huggingface_hub.utils import disable_progress_bars

from services.prepare.hub import HubFile

REQUEST_TIMEOUT_S = 30.0
PATHS_PER_REQUEST = 500


class HuggingFaceHub:
    def __init__(self, repository: str) -> None:
        self._repository = repository
        self._api = HfApi()
        disable_progress_bars()

    def revision(self) -> str:
        with _translated():
            return str(self._api.dataset_info(self._repository, timeout=REQUEST_TIMEOUT_S).sha)

    def describe(self, revision: str, names: list[str]) -> dict[str, HubFile]:
        found: dict[str, HubFile] = {}
        for start in range(0, len(names), PATHS_PER_REQUEST):
            paths = names[start : start + PATHS_PER_REQUEST]
            with _translated():
                infos = self._api.get_paths_info(self._repository, paths, revision=revision, repo_type="dataset")
            # A shard without an LFS record has no sha256 to hold it against, so it counts as missing.
            for info in infos:
                if isinstance(info, RepoFile) and info.lfs:
                    found[info.path] = HubFile(sha256=info.lfs.sha256, num_bytes=info.size)
        return found

    def fetch(self, revision: str, name: str, directory: Path) -> None:
        with _translated():
            hf_hub_download(
                self._repository, name, repo_type="dataset", revision=revision, local_dir=directory, force_download=True
            )


@contextmanager
def _translated() -> Iterator[None]:
    """Network trouble becomes ConnectionError, which is retried; a full disk and a missing file do not pass."""
    try:
        yield
    except (EntryNotFoundError, RepositoryNotFoundError) as error:
        if isinstance(error, LocalEntryNotFoundError):
            raise ConnectionError(_line(error)) from error
        raise ValueError(f"the hub does not have it: {_line(error)}") from None
    except Exception as error:
        # The library's transport errors differ between its versions and share no base but Exception.
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise ConnectionError(_line(error)) from error


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
