"""Options that the commands about ideas share."""

from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document, for programs.")]
Local = Annotated[bool, typer.Option("--local", help="Look at this machine's own runs, also where a hub is known.")]
Hardware = Annotated[str | None, typer.Option(help="Hardware key. Default: the one where something ran last.")]
Note = Annotated[str | None, typer.Option(help="The recipe is an idea; say in one line why it should help.")]
Parent = Annotated[str | None, typer.Option(help="Idea it changes. Default: the best on this target; none: a start.")]
