"""`autoresearch runs`: lists the experiments on this disk and how they ended. `runs prune` makes room."""

import json as json_module
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from shared.contracts import Integrity

WIDE = 200  # characters per line when a program reads, so that nothing is cut

app = typer.Typer(help="List the runs on this disk, newest first. `runs prune` removes what is no longer needed.")


@app.callback(invoke_without_command=True)
def runs(
    context: typer.Context,
    limit: Annotated[int, typer.Option(help="How many runs to list.")] = 20,
    integrity: Annotated[
        Integrity | None, typer.Option(help="Only finished runs whose recipe was isolated this completely.")
    ] = None,
    ranked: Annotated[bool, typer.Option("--ranked", help="Only runs that may be compared with others.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document, a list, for programs.")] = False,
) -> None:
    """List runs, newest first, with val_bpb or the reason why there is none. `runs prune` makes room on the disk."""
    if context.invoked_subcommand is not None:
        return
    from shared.runs.listing import list_runs

    listed = list_runs(limit, integrity=integrity, only_ranked=ranked)
    if json:
        print(json_module.dumps([entry.to_dict() for entry in listed]))
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


@app.command()
def prune(
    keep: Annotated[int, typer.Option(min=0, help="So many of the newest finished runs are left as they are.")] = 20,
    older_than: Annotated[float, typer.Option(metavar="DAYS", help="Only runs older than this.")] = 0.0,
    whole: Annotated[
        bool, typer.Option("--whole", help="Remove the run directories, records too, but for runs of ideas.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document, for programs.")] = False,
) -> None:
    """Remove the weights of old finished runs. Their records stay, and so does the best run of each kind.

    Weights are needed only to score a run again. Runs that can be continued are left alone.
    """
    from shared.runs.pruning import prunable

    parts = prunable(keep, older_than_days=older_than, whole=whole)
    for part in parts if not dry_run else ():
        part.remove()
    num_bytes = sum(part.num_bytes for part in parts)
    if json:
        removed = [{"path": str(part.path), "num_bytes": part.num_bytes} for part in parts]
        print(json_module.dumps({"removed": removed, "num_bytes": num_bytes, "dry_run": dry_run}))
        return
    for part in parts:
        print(f"{part.num_bytes / 1e6:9.1f} MB  {part.path}")
    done = "would be removed" if dry_run else "removed"
    print(f"{num_bytes / 1e6:.1f} MB of {len(parts)} runs {done}" if parts else "there is nothing to remove")
