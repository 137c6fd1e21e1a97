"""Makes a dataset, or rows of one more length: python -m services.prepare '{"corpus": "stdlib"}'.

The argument is a PrepareJob or a PackJob (shared/contracts.py). Exit 0 when the dataset is there; with one line on
stderr 2 when the job or the corpus is at fault, 74 when the disk is. Run it again after anything: it goes on where it
was.
"""

import json
import os
import signal
import sys
from types import FrameType
from typing import NoReturn

from pydantic import ValidationError

from services.prepare.report import Report
from shared.contracts import PackJob, PrepareJob
from shared.data.dataset import DEMO_NOTICE, Dataset
from shared.invalid import first_wrong
from shared.sandbox.parent_death import exit_with_parent, is_started_apart
from shared.settings import settings
from shared.stages.executors import BAD_INPUT, DISK_FAULT, MAKE_ROOM, line_of


def parse(argument: str) -> PrepareJob | PackJob:
    """ValueError in one line."""
    try:
        content = json.loads(argument)
    except json.JSONDecodeError as error:
        raise ValueError(f"the job is not JSON ({error})") from None
    model = PackJob if isinstance(content, dict) and "dataset" in content else PrepareJob
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise ValueError(f"not a valid {model.__name__}: {first_wrong(error)}") from None


def run(job: PrepareJob | PackJob, report: Report) -> Dataset:
    # Packing alone needs neither a parquet reader nor a tokenizer.
    if isinstance(job, PackJob):
        from services.prepare.packing import pack_dataset

        return pack_dataset(job, report)
    from services.prepare.pipeline import prepare

    return prepare(job, report)


def main() -> int:
    report = Report()
    try:
        if len(sys.argv) != 2:
            raise ValueError('one argument is needed, e.g. python -m services.prepare \'{"corpus": "stdlib"}\'')
        dataset = run(parse(sys.argv[1]), report)
    except ValueError as error:
        print(f"prepare: {error}", file=sys.stderr)
        return BAD_INPUT
    except OSError as error:
        # Full disk, no permission: what was half written is gone, what was finished stays for the next run.
        line = line_of(error, settings().home, MAKE_ROOM)
        print(f"prepare: {line}", file=sys.stderr)
        return DISK_FAULT
    report.say(f"dataset: {dataset.manifest.name} {dataset.manifest.fingerprint[:12]} in {dataset.path}")
    if dataset.manifest.is_demo:
        report.say(f"corpus: {DEMO_NOTICE}")
    return 0


class Told(BaseException):
    """To end, by a signal."""

    def __init__(self, number: int):
        self.number = number


def ended_by_signals() -> NoReturn:
    """main(), which clears up when it is told to end, and then has ended by that very signal."""
    if is_started_apart():  # started by the console or an executor, not by hand
        exit_with_parent(grace_s=10.0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _told)
    try:
        sys.exit(main())
    except Told as told:
        print("prepare: interrupted; run the same command again to continue", file=sys.stderr, flush=True)
        signal.signal(told.number, signal.SIG_DFL)
        os.kill(os.getpid(), told.number)
        sys.exit(128 + told.number)  # the first process of a container does not die of it


def _told(number: int, frame: FrameType | None) -> None:
    """Once: a second signal would interrupt the clearing up."""
    for other in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(other, signal.SIG_IGN)
    raise Told(number)


if __name__ == "__main__":
    ended_by_signals()
