"""`autoresearch diff`: what an idea changes."""

from typing import Annotated

import typer

from services.console.options import AsJson, Local


def diff(
    idea: Annotated[str, typer.Argument(metavar="IDEA", help="Its id, or the beginning of it.")],
    other: Annotated[
        str | None, typer.Argument(metavar="[OTHER]", help="Idea to compare with. Default: its parent.")
    ] = None,
    local: Local = False,
    json: AsJson = False,
) -> None:
    """Show an idea's recipe and settings as a unified diff against its parent's, or another idea's."""
    from services.console import looking
    from services.console.research import place
    from shared.research.idea import diff_of

    where = place(local)
    known = where.known()
    found = known.idea(idea)
    before = known.idea(other) if other else known.ideas.get(found.parent or "")
    text = diff_of(where.recipe(before), where.recipe(found), before.settings, found.settings) if before else ""
    if json:
        about = {"id": found.id, "against": before and before.id, "note": found.note, "recipe_sha": found.recipe_sha}
        return looking.print_json({**about, "diff": text})
    if before is None:
        return print(f"{found.id} is a start: it changes nothing. `autoresearch best --recipe FILE` writes a recipe")
    return print(text or f"{found.id} and {before.id} are equal", end="" if text else "\n")
