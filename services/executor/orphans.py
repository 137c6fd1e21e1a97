"""What a container's first process owes the others: those whose parent died become its children, and when they end
somebody has to collect them, or they fill the container's table of processes.
"""

import os
from contextlib import suppress


def collect_orphans(stage: int | None) -> None:
    """Collects children that ended, except process `stage`, whose exit code its starter waits for."""
    with suppress(ChildProcessError):
        while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if ended.si_pid == stage:
                return  # the container ends with it
            os.waitpid(ended.si_pid, os.WNOHANG)
