"""`autoresearch decide`: keep or drop an idea by the rule of docs/research-loop.md."""

from typing import Annotated

import typer

from services.console.options import AsJson, Local
from shared.research.rule import Verdict

EXIT_CODES = {Verdict.KEEP: 0, Verdict.DISCARD: 1, Verdict.UNDECIDED: 2}


def decide(
    idea: Annotated[str, typer.Argument(metavar="IDEA", help="Its id, or the beginning of it.")],
    wait: Annotated[
        bool, typer.Option("--wait", help="Make the runs that could change the verdict, and wait.")
    ] = False,
    hardware: Annotated[
        str | None, typer.Option(help="Hardware key to decide for. Default: where the idea was run last.")
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(help="With --wait: begin nothing after this many seconds, and do not wait longer for a queue."),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Try a keep again by today's noise. It stands until this is decided.")
    ] = False,
    local: Local = False,
    json: AsJson = False,
) -> None:
    """Keep an idea (exit code 0), discard it (1), or say what is missing (2)."""
    from services.console import verdicts
    from services.console.interruption import ends_like_ctrl_c
    from services.console.research import place

    with ends_like_ctrl_c():
        judged = verdicts.conclude(place(local), idea, hardware, wait=wait, timeout_s=timeout, again=again)
    verdicts.show(judged, json)
    raise typer.Exit(EXIT_CODES[judged.decision.verdict])
