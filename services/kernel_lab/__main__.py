"""Carries out one command of the kernel lab: python -m services.kernel_lab '{"command": {...}}'.

The argument is a LabJob, the answer a LabAnswer (shared/kernel_lab/). Exit 0 when the answer is written, whatever it
says; the other exit codes are those of shared/stages/job_command.py.
"""

import sys

from services.kernel_lab.commands import carry_out
from services.kernel_lab.desk import Desk
from shared.kernel_lab.job import LabJob, leave_answer
from shared.stages.job_command import job_exit_code, parse_job, stages_here


def main() -> None:
    job = parse_job(LabJob, sys.argv[1:], "autoresearch lab")
    leave_answer(job, carry_out(job, Desk(job.id, stages_here(), holds_device=job.holds_device)))


if __name__ == "__main__":
    sys.exit(job_exit_code(main))
