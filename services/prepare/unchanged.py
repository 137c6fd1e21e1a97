"""A file that stays what was hashed until it has been read. Replaced in between, it would give other rows under the
same fingerprint. Seen by inode, size and both times: nobody can set the time of the last change of an inode.
"""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Fixed:
    """A file and what it was before its content was hashed."""

    path: Path
    inode: int
    num_bytes: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def now(cls, path: Path) -> "Fixed":
        found = os.stat(path)
        return cls(path, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)

    def check(self) -> None:
        """ValueError when the file is another one by now."""
        if not self.path.exists() or Fixed.now(self.path) != self:
            raise ValueError(
                f"{self.path} was changed or replaced while it was prepared: leave the files alone and prepare again"
            )
