"""Trains what one run directory asks for: `python -m services.trainer RUN_DIR`.

Exit code 0 when training ended well, 1 when it did not (training.json says how), 2 when the directory cannot
be used.
"""

import sys
from pathlib import Path

from services.trainer.supervisor import supervise
from shared.runs.directory import RunDirectory
from shared.sandbox.parent_death import exit_with_parent
from shared.stages.command import exit_code, leave


def main() -> int:
    if len(sys.argv) != 2:
        print("usage: python -m services.trainer RUN_DIR", file=sys.stderr)
        return 2
    exit_with_parent(grace_s=10.0)
    run = RunDirectory(Path(sys.argv[1]).resolve())
    return exit_code(lambda: supervise(run), sys.argv[1])


if __name__ == "__main__":
    leave(main())
