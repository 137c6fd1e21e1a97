"""`autoresearch runs`: lists the experiments on this disk and how they ended."""

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from shared.contracts import Integrity

WIDE = 200  # characters per line when a program reads, so that nothing is cut


def runs(
    limit: Annotated[int, typer.Option(help="How many runs to list.")] = 20,
    integrity: Annotated[
        Integrity | None, typer.Option(help="Only finished runs whose recipe was isolated this completely.")
    ] = None,
    ranked: Annotated[bool, typer.Option("--ranked", help="Only runs that may be compared with others.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line, for programs.")] = False,
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
        print("no run is like that" if asked else "there are no runs yet: start one with `autoresearch train --smoke`")
        return
    table = Table(Column("run", no_wrap=True), "recipe", "dataset", "outcome", box=None, pad_edge=False)
    for entry in listed:
        recipe, dataset = (entry.job.recipe_sha[:8], entry.job.dataset.name) if entry.job else ("", "")
        table.add_row(entry.run_id, recipe, dataset, Text(entry.summary))
    Console(width=None if sys.stdout.isatty() else WIDE).print(table)
