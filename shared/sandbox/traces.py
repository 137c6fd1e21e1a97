"""What a recipe's process could leave for others in the kernel's memory: names it asked for, pages it had read.

child:   descriptors = counts()                      last step before a recipe is imported; they go to the parent
parent:  traces = Traces(*descriptors)
         traces.limit(names=256, pages=256)          from now on, before it is given what nobody else may learn
         traces.excess()                             why its run is rejected, or ""
"""

import os

from shared.sandbox import file_names, pages_read
from shared.sandbox.file_names import FileNames
from shared.sandbox.pages_read import PagesRead

TOO_MANY_NAMES = (
    "file names: the recipe opened or looked for too many files once it had been given rows, which could tell others "
    "what is in them: import, compile and open in build() and load() (docs/security.md)"
)
TOO_MANY_PAGES = (
    "pages of files: too much was read from the disk once the recipe had been given rows, which could tell others what "
    "is in them (docs/security.md): read in build() and load(); if this machine is short of memory, free some and "
    "evaluate again"
)
PROCESSES = (
    "processes: the recipe started a process once it had been given rows, or kept one, and what that reads is not "
    "counted (docs/security.md): end them in build() and load()"
)


def counts() -> tuple[int, int]:
    """OSError where names or pages cannot be counted."""
    pages = pages_read.open_own()
    try:
        return file_names.notify(), pages  # no file may be named before the parent has the first, and answers
    except BaseException:
        os.close(pages)
        raise


class Traces:
    """Owns the descriptors. `close` when the process is gone."""

    def __init__(self, names: int, pages: int):
        self._names, self._pages = FileNames(names), PagesRead(pages)
        self._names.__enter__()

    def close(self) -> None:
        self._names.__exit__()
        self._pages.close()

    def limit(self, *, names: int, pages: int | None) -> None:
        """How many more calls may name a file, and how many pages may come from a disk. Where these are limited the
        process may also start no other, since only its own are counted."""
        self._names.limit(names, alone=pages is not None)
        if pages is not None:
            self._pages.limit(pages)

    def excess(self) -> str:
        if self._names.exceeded:
            return TOO_MANY_NAMES
        if self._names.started_processes:
            return PROCESSES
        return TOO_MANY_PAGES if self._pages.exceeded() else ""
