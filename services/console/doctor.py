"""`autoresearch doctor`: says whether this machine is ready, and what to do where it is not."""

import json as json_module
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

MARKS = {"ok": "[green]ok  [/green]", "warning": "[yellow]look[/yellow]", "error": "[red]fix [/red]"}


def doctor(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document, for programs.")] = False,
) -> None:
    """Check the queue, MLflow, device, driver, disk, clock and versions.

    The exit code is 1 if something must be fixed.
    """
    from services.console.health_checks import run_checks

    findings = run_checks()
    if json:
        print(json_module.dumps([asdict(finding) for finding in findings]))
    else:
        console = Console(soft_wrap=True, highlight=False)
        for finding in findings:
            advice = f": {finding.advice}" if finding.advice else ""
            console.print(f"{MARKS[finding.level]} {finding.what:<10} {finding.found}{advice}")
    raise typer.Exit(int(any(finding.level == "error" for finding in findings)))
