"""`autoresearch prepare`: makes a dataset that experiments can name."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from services.console.interruption import ends_like_ctrl_c
from shared.contracts import PrepareJob
from shared.experiment.request import validated
from shared.sandbox.processes import dies_with_parent
from shared.settings import CHECKOUT
from shared.stages.executors import BAD_INPUT, last_line

CLEAR_UP_S = 10.0


def prepare(
    corpus: Annotated[
        str,
        typer.Option(
            help="stdlib (a demo, offline, never ranked), climbmix (the real one), or parquet:DIR (your own files)"
        ),
    ] = "climbmix",
    name: Annotated[str | None, typer.Option(help="What to call the dataset. Default: after the corpus.")] = None,
    shards: Annotated[int, typer.Option(help="climbmix: how many training shards to download.")] = 10,
    text_column: Annotated[str, typer.Option(help="parquet: the column that holds the documents.")] = "text",
    tokenizer: Annotated[
        str | None, typer.Option(help="Directory of an existing tokenizer to use instead of training one.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Tokenizing processes. 0 takes every core.")] = 0,
) -> None:
    """Download a corpus, train the tokenizer, tokenize and pack it. Again is quick: what is there is reused."""
    tokenizer = tokenizer and str(Path(tokenizer).expanduser().absolute())
    values = {"corpus": from_here(corpus), "name": name, "shards": shards, "text_column": text_column}
    job = validated(PrepareJob, values | {"tokenizer": tokenizer, "workers": workers})
    command = [sys.executable, "-m", "services.prepare", job.model_dump_json()]
    with ends_like_ctrl_c():
        code, said = attended(command)
    if code == BAD_INPUT:
        raise ValueError(last_line(said).removeprefix("prepare: "))
    sys.stderr.write(said)
    raise typer.Exit(1 if code else 0)


def attended(command: list[str]) -> tuple[int, str]:
    """Exit code and stderr. The process ends with us, whatever ends us; on an interrupt once it has cleared up."""
    process = subprocess.Popen(
        dies_with_parent(command, by=signal.SIGTERM),
        cwd=CHECKOUT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C reaches it once, from here
    )
    try:
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
    print("autoresearch: prepare was interrupted; the same command goes on where it was", file=sys.stderr)


def from_here(corpus: str) -> str:
    """`parquet:DIR` with DIR as it is meant in the directory of whoever asks."""
    kind, separator, directory = corpus.partition(":")
    return f"{kind}:{Path(directory).expanduser().absolute()}" if separator and directory else corpus
