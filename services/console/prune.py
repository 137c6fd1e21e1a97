"""`autoresearch prune`: tests whether the best recipe misses the ideas it was made of, and drops those it does not."""

from typing import Annotated

import typer

from services.console.options import AsJson, Hardware, Local


def prune(
    wait: Annotated[bool, typer.Option("--wait", help="Make the runs, and decide.")] = False,
    hardware: Hardware = None,
    local: Local = False,
    json: AsJson = False,
) -> None:
    """Take each kept idea out of the best recipe; what is not missed in four runs is dropped.

    Without --wait, it only says what would be tested.
    """
    from services.console import looking, pruning
    from services.console.interruption import ends_like_ctrl_c
    from services.console.research import place

    with ends_like_ctrl_c():
        found = pruning.prune(place(local), hardware, wait=wait)
    if json:
        return looking.print_json([vars(one) for one in found])
    if not found:
        return print("the best recipe holds no kept idea: there is nothing to take out")
    for one in found:
        print(f"{one.state:<10} without {one.without}  {one.note}\n           {one.reason}")
    return None
