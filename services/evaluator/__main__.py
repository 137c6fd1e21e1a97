"""Scores the final checkpoint of one run directory: `python -m services.evaluator RUN_DIR [RUNG]`.

Exit code 0 with a number, 1 without one (evaluation.json says why), 2 when the directory cannot be used.
"""

import sys
from pathlib import Path

from services.evaluator.evaluate import evaluate
from shared.contracts import Rung
from shared.runs.directory import RunDirectory
from shared.sandbox.ending import adopt_orphans
from shared.sandbox.parent_death import exit_with_parent
from shared.stages.command import end_on_signals, exit_code, leave


def main() -> int:
    if len(sys.argv) not in (2, 3) or sys.argv[2:] not in ([], *([rung] for rung in (*Rung, "auto"))):
        print(f"usage: python -m services.evaluator RUN_DIR [auto|{'|'.join(Rung)}]", file=sys.stderr)
        return 2
    exit_with_parent(grace_s=10.0)
    adopt_orphans()
    end_on_signals()
    run = RunDirectory(Path(sys.argv[1]).resolve())
    return exit_code(lambda: evaluate(run, *sys.argv[2:]), sys.argv[1])


if __name__ == "__main__":
    leave(main())
