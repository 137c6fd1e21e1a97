"""`autoresearch runs`: what ran on this disk and how it ended."""

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from shared.contracts import Integrity

WIDE = 200  # columns when a program reads: nothing is cut


def runs(
    limit: Annotated[int, typer.Option(help="How many, newest first.")] = 20,
    integrity: Annotated[
        Integrity | None, typer.Option(help="Only finished runs that were fenced in so far: full, partial, none.")
    ] = None,
    ranked: Annotated[bool, typer.Option("--ranked", help="Only runs that compare with others.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs.")] = False,
) -> None:
    """List runs, newest first, with val_bpb or the reason why there is none."""
    from shared.runs.listing import list_runs

    listed = list_runs(limit, integrity=integrity, only_ranked=ranked)
    if json:
        for entry in listed:
            print(entry.to_json())
        return
    if not listed:
        asked = integrity is not None or ranked
        print("no such run" if asked else "no runs yet: autoresearch train --smoke")
        return
    table = Table(Column("run", no_wrap=True), "recipe", "dataset", "outcome", box=None, pad_edge=False)
    for entry in listed:
        recipe, dataset = (entry.job.recipe_sha[:8], entry.job.dataset.name) if entry.job else ("", "")
        table.add_row(entry.run_id, recipe, dataset, Text(entry.summary))
    Console(width=None if sys.stdout.isatty() else WIDE).print(table)
