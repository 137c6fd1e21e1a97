"""`autoresearch history`: every idea, what it was compared with, and what became of it."""

from typing import Annotated

import typer

from services.console.options import AsJson, Hardware, Local


def history(
    limit: Annotated[int, typer.Option(help="How many ideas to list, the latest.")] = 50,
    hardware: Hardware = None,
    local: Local = False,
    json: AsJson = False,
) -> None:
    """List ideas in the order in which they were proposed, with verdict, gain and number of runs."""
    from services.console import briefing, looking
    from services.console.research import place
    from shared.research.history import rows

    where = place(local)
    known = where.known()
    found = [row for row in rows(known) if hardware is None or hardware in row.hardware_keys]
    if json:
        return looking.print_json([row.as_json() for row in found[-limit:]])
    if not found:
        first = briefing.state(where, hardware if known.ideas else None, limit=1).next[0]
        return print(f"no idea was run here yet: `{first.command}` begins, since {first.why}")
    looking.print_history(found[-limit:], several_keys=len({row.key for row in found if row.key}) > 1)
    for line in looking.why_lower(known, found):
        print(line)
    return None
