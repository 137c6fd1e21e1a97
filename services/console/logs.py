"""`autoresearch logs`: what the recipe of a run printed."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

LOOK_EVERY_S = 0.5
PIECE_BYTES = 1 << 16


def logs(
    name: Annotated[
        str, typer.Argument(metavar="RUN|JOB", help="Name of a run, or of a job that ran on this machine.")
    ],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run has ended.")] = False,
) -> None:
    """Print what a recipe printed, its newest attempt's for a job. Control characters are left out.

    In containers a recipe's output arrives when its training has ended.
    """
    from shared.runs.directory import RunDirectory

    run = RunDirectory(newest_attempt(name))
    position = 0
    while True:
        over = run.result_file.exists() or not run.in_use()
        position = print_from(run.output_file, position)
        if over or not follow:
            break
        time.sleep(LOOK_EVERY_S)
    if not position:
        print(f"the recipe of {run.path.name} has printed nothing", file=sys.stderr)


def newest_attempt(name: str) -> Path:
    """The run directory. ValueError when it is not on this disk."""
    from shared.settings import settings

    if Path(name).name != name:
        raise ValueError(f"{name} is no name of a run or job: `autoresearch runs` and `autoresearch status` list them")
    attempts = sorted(settings().runs.glob(f"{name}-a[0-9]*"), key=lambda path: int(path.name.rpartition("-a")[2]))
    found = [path for path in (settings().runs / name, *attempts) if (path / "job.json").is_file()]
    if not found:
        raise ValueError(
            f"no run of {name} is in {settings().runs}: if it is a job, `autoresearch status {name}` names the host "
            "that ran it, and its output is there"
        )
    return found[-1]


def print_from(file: Path, position: int) -> int:
    """Prints what is new and returns where to go on. A recipe wrote it: it must not steer the terminal."""
    if not file.is_file():
        return position
    with open(file, "rb") as stream:
        stream.seek(position)
        while piece := stream.read(PIECE_BYTES):
            text = piece.decode(errors="replace")
            sys.stdout.write("".join(char for char in text if char.isprintable() or char in "\n\t"))
        sys.stdout.flush()
        return stream.tell()
