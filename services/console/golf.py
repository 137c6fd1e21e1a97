"""`autoresearch golf`: reads CHANGELOG.md, where every change says who drove it, and sums it up."""

import os
import sys
from typing import Annotated

import typer

from shared.settings import CHECKOUT


def golf(
    by: Annotated[
        str, typer.Option(help="What a row is: entry, day, subsystem, day-subsystem or overall.")
    ] = "overall",
    format: Annotated[str, typer.Option(help="table for people, csv or json for programs.")] = "table",
    verify: Annotated[
        bool, typer.Option("--verify", help="Check headers against bullets, and commits against git.")
    ] = False,
    refresh: Annotated[bool, typer.Option("--refresh", help="Write the badge and the snapshot in README.md.")] = False,
) -> None:
    """Sum up who drove the changes of this project: 6 is fully human, 0 fully autonomous."""
    options = [f"--by={by}", f"--format={format}"]
    options += [name for name, given in (("--verify", verify), ("--refresh", refresh)) if given]
    os.chdir(CHECKOUT)
    os.execv(sys.executable, [sys.executable, "-m", "services.golf", *options])
