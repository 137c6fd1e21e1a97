"""`autoresearch best`: the best recipe so far, how it came about, and a copy of it to go on from."""

from pathlib import Path
from typing import Annotated

import typer

from services.console.options import AsJson, Hardware, Local


def best(
    recipe: Annotated[Path | None, typer.Option(help="Write the recipe into this file.")] = None,
    hardware: Hardware = None,
    local: Local = False,
    json: AsJson = False,
) -> None:
    """Show the best kept idea of a machine and its lineage."""
    from services.console import looking
    from services.console.research import place

    where = place(local)
    known = where.known()
    key = looking.key_at(known, hardware)
    found = known.best(key) if key else None
    if key is None or found is None:
        raise ValueError(looking.NOTHING_YET)
    idea, score = found
    if recipe is not None:
        recipe.write_bytes(where.recipe(idea))
    line = [{"id": one.id, "note": one.note, "val_bpb": known.score(one, key)} for one in known.line(key)]
    if json:
        about = {"id": idea.id, "val_bpb": score, "note": idea.note, "settings": idea.settings}
        return looking.print_json({**about, "key": key.model_dump(mode="json"), "lineage": line, "recipe": recipe})
    print(f"{score:.6f}  {idea.id}  {idea.note or idea.kind}\nwhere     {key}")
    for name, value in idea.settings.items():
        print(f"setting   {name}={value}")
    for one in line:
        score_there = "-" if one["val_bpb"] is None else f"{one['val_bpb']:.6f}"
        print(f"lineage   {score_there}  {one['id']}  {one['note']}")
    if recipe is not None:
        print(f"recipe    {recipe}")
    return None
