"""`autoresearch doctor`: is this machine ready, and what to do where it is not."""

import json as json_module
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

MARKS = {"ok": "[green]ok[/green]", "warning": "[yellow]look[/yellow]", "error": "[red]fix[/red]"}


def doctor(
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs.")] = False,
) -> None:
    """Check the queue, MLflow, device, driver, disk, clock and versions. Exit code 1 when something must be fixed."""
    from services.console.examination import examine

    findings = examine()
    if json:
        for finding in findings:
            print(json_module.dumps(asdict(finding)))
    else:
        table = Table(show_header=False, box=None, pad_edge=False)
        for finding in findings:
            table.add_row(
                MARKS[finding.level], finding.what, f"{finding.found}{finding.advice and f': {finding.advice}'}"
            )
        Console(soft_wrap=True).print(table)
    raise typer.Exit(int(any(finding.level == "error" for finding in findings)))
