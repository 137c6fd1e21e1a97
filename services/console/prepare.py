"""`autoresearch prepare`: makes a dataset that experiments can use."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from services.console.interruption import ends_like_ctrl_c
from services.console.packages import require
from shared.contracts import PrepareJob
from shared.experiment.request import validated
from shared.machine.awake import kept_awake
from shared.sandbox.parent_death import dies_with_parent
from shared.settings import CHECKOUT
from shared.stages.executors import last_line, raise_fault

CLEAR_UP_S = 10.0


def prepare(
    corpus: Annotated[
        str,
        typer.Option(
            help="climbmix (the real corpus), stdlib (offline demo, never ranked), or parquet:DIR (your own files)."
        ),
    ] = "climbmix",
    name: Annotated[str | None, typer.Option(help="Name of the dataset. Default: the name of the corpus.")] = None,
    shards: Annotated[int, typer.Option(help="For climbmix: the number of training shards to download.")] = 10,
    text_column: Annotated[str, typer.Option(help="For parquet: the column that contains the documents.")] = "text",
    tokenizer: Annotated[
        str | None, typer.Option(help="Directory of an existing tokenizer, to be used instead of training a new one.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Number of processes that tokenize. 0 uses all cores.")] = 0,
) -> None:
    """Download a corpus, train a tokenizer, and pack the text into rows.

    If you run it again, it reuses what is already there and continues where it was interrupted.
    """
    tokenizer = tokenizer and str(Path(tokenizer).expanduser().absolute())
    values = {"corpus": from_here(corpus), "name": name, "shards": shards, "text_column": text_column}
    job = validated(PrepareJob, values | {"tokenizer": tokenizer, "workers": workers})
    with ends_like_ctrl_c():
        raise typer.Exit(make_dataset(job))


def make_dataset(job: PrepareJob, reports_to: int | None = None) -> int:
    """Exit code 0 when it is there, 1 when it could not be made. ValueError when the job or the corpus is at fault,
    OSError when the disk is.

    reports_to: a descriptor, in place of stdout
    """
    require("data")
    code, said = attended([sys.executable, "-m", "services.prepare", job.model_dump_json()], reports_to)
    raise_fault(code, last_line(said).removeprefix("prepare: "))
    sys.stderr.write(said)
    return 1 if code else 0


def attended(command: list[str], stdout: int | None = None) -> tuple[int, str]:
    """Exit code and stderr. The process ends when this one ends; after an interrupt it clears up first."""
    process = subprocess.Popen(
        dies_with_parent(command, by=signal.SIGTERM),
        cwd=CHECKOUT,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C reaches it once, from here
    )
    try:
        with kept_awake():
            said = process.communicate()[1]
    except BaseException:
        end(process)
        raise
    return process.returncode, said


def end(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.communicate(timeout=CLEAR_UP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
    print("autoresearch: prepare was interrupted; run the same command again to continue", file=sys.stderr)


def from_here(corpus: str) -> str:
    """`parquet:DIR` with DIR made absolute, from the directory in which the command was called."""
    kind, separator, directory = corpus.partition(":")
    return f"{kind}:{Path(directory).expanduser().absolute()}" if separator and directory else corpus
