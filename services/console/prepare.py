"""`autoresearch prepare`: makes a dataset that experiments can name."""

import subprocess
import sys
from typing import Annotated

import typer

from shared.contracts import PrepareJob
from shared.request import validated
from shared.settings import CHECKOUT


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
    values = {"corpus": corpus, "name": name, "shards": shards, "text_column": text_column}
    job = validated(PrepareJob, values | {"tokenizer": tokenizer, "workers": workers})
    command = [sys.executable, "-m", "services.prepare", job.model_dump_json()]
    raise typer.Exit(subprocess.run(command, cwd=CHECKOUT, check=False).returncode)
