"""`autoresearch brief`: everything an agent needs to go on after it lost its context."""

from typing import Annotated

import typer

from services.console.options import AsJson, Hardware, Local


def brief(
    limit: Annotated[int, typer.Option(help="How many of the last ideas to show.")] = 10,
    hardware: Hardware = None,
    local: Local = False,
    json: AsJson = False,
) -> None:
    """Show the best recipe, what this machine can resolve, the last ideas, what runs, and what to do next."""
    from services.console import briefing, looking
    from services.console.research import place

    state = briefing.state(place(local), hardware, limit)
    if json:
        return looking.print_json(state.as_json())
    return briefing.show(state)
