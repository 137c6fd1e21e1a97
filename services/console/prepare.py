"""`autoresearch prepare`: makes a dataset that experiments can name."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from shared.contracts import PrepareJob
from shared.experiment.request import validated
from shared.settings import CHECKOUT
from shared.stages.executors import BAD_INPUT, last_line


def prepare(
    corpus: Annotated[
        str, typer.Option(help="stdlib (offline, a minute), climbmix (the real one), or parquet:DIR (your own files)")
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
    done = subprocess.run(command, cwd=CHECKOUT, check=False, stderr=subprocess.PIPE, text=True)
    if done.returncode == BAD_INPUT:
        raise ValueError(last_line(done.stderr).removeprefix("prepare: "))
    sys.stderr.write(done.stderr)
    raise typer.Exit(1 if done.returncode else 0)


def from_here(corpus: str) -> str:
    """`parquet:DIR` with DIR as it is meant in the directory of whoever asks."""
    kind, separator, directory = corpus.partition(":")
    return f"{kind}:{Path(directory).expanduser().absolute()}" if separator and directory else corpus
