"""`autoresearch lab`: from an op that costs time to a kernel that a recipe may use. docs/performance.md."""

import typer

from services.console import lab_estimate

app = typer.Typer(help="Find what costs time in a training step, and prove kernels that make it faster.")
app.command()(lab_estimate.estimate)
