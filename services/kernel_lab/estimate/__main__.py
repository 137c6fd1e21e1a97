"""Estimates a training step without the GPU: python -m services.kernel_lab.estimate '{"sides": ...}'.

The argument is an EstimateRequest (shared/kernel_lab/estimate.py), which names the file of the answer. Exit code 2
with one line on stderr for what cannot be estimated, 74 when the disk is full.
"""

import sys
from tempfile import gettempdir

from services.kernel_lab.estimate.estimate import estimate
from shared.kernel_lab.estimate import EstimateRequest
from shared.sandbox.ending import adopt_orphans
from shared.stages.command import end_on_signals
from shared.stages.executors import BAD_INPUT, DISK_FAULT, line_of
from shared.stages.job_command import end_with_starter, parse_job


def main() -> int:
    end_with_starter()
    adopt_orphans()
    end_on_signals()
    try:
        estimate(parse_job(EstimateRequest, sys.argv[1:], "autoresearch lab estimate"))
    except ValueError as error:
        print(*str(error).split(), file=sys.stderr)
        return BAD_INPUT
    except OSError as error:
        print(line_of(error, gettempdir(), "make room or access, then run it again"), file=sys.stderr)
        return DISK_FAULT
    return 0


if __name__ == "__main__":
    sys.exit(main())
