"""`autoresearch sweep`: tries a list of settings, or searches a space, unattended for some hours."""

import sys
from contextlib import redirect_stdout
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from services.console.interruption import ends_like_ctrl_c
from shared.settings import CHECKOUT

RESULTS = CHECKOUT / "results"


def sweep(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What to try: a TOML file as in docs/sweeps.md.")],
    hours: Annotated[float, typer.Option(help="Begin no run that would end later than this after the start.")] = 8.0,
    tag: Annotated[
        str | None,
        typer.Option(help="Name of the sweep. An existing one is continued. Default: the file's name and today."),
    ] = None,
    parallel: Annotated[
        int | None, typer.Option(min=1, help="Points in the queue at once. Default: one for each worker of the target.")
    ] = None,
    results: Annotated[Path, typer.Option(help="Folder for results.tsv and overnight/TAG.")] = RESULTS,
    json: Annotated[bool, typer.Option("--json", help="At the end, print one JSON document.")] = False,
) -> None:
    """Run a sweep on this machine, or on the queue that its file names.

    The same command continues a sweep that was interrupted, whatever was killed.
    """
    from services.console import sweeping

    named, place = tag or f"{file.stem}-{datetime.now():%Y%m%d}", results.absolute()
    with ends_like_ctrl_c(), redirect_stdout(sys.stderr if json else sys.stdout):
        code = sweeping.work(file, named, hours, parallel, place)
    if json:
        print(sweeping.as_json(named, place))
    raise typer.Exit(code)
