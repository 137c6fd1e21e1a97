"""What climbmix.py needs of the hub that its shards come from. The real one: hugging_face.py."""

from pathlib import Path
from typing import Protocol

from shared.contracts import Contract, Sha256


class HubFile(Contract):
    sha256: Sha256
    num_bytes: int


class Hub(Protocol):
    """The seam to the network. Failures that may pass are ConnectionError, others ValueError."""

    def revision(self) -> str: ...

    def describe(self, revision: str, names: list[str]) -> dict[str, HubFile]: ...

    def fetch(self, revision: str, name: str, directory: Path) -> None:
        """Puts the file into `directory` under its name."""
