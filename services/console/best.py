"""`autoresearch best`: the best recipe so far, how it came about, and a copy of it to go on from."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.console.options import AsJson, Hardware, Local

if TYPE_CHECKING:
    from services.console.briefing import State
    from shared.research.idea import Idea


COPY = Path("my_recipe.py")
"""as program.md calls it"""


def best(
    recipe: Annotated[Path | None, typer.Option(help="Write the recipe into this file.")] = None,
    hardware: Hardware = None,
    local: Local = False,
    json: AsJson = False,
) -> None:
    """Show the best kept idea of a machine and its lineage. Exit code 1: there is none yet, and no file is written."""
    from services.console import briefing, looking
    from services.console.research import place
    from shared.research.doubt import doubts

    where = place(local)
    known = where.known()
    key = looking.key_at(known, hardware)
    found = known.best(key) if key else None
    if key is None or found is None:
        state = briefing.state(where, hardware, limit=1)
        tell_none(state, briefing.why_no_best(known, state.waiting), json)
        raise typer.Exit(1)
    idea, score = found
    if recipe is not None:
        recipe.write_bytes(where.recipe(idea))
    doubted = doubts(known, key, where.default(key)) if idea.parent else []
    line = [{"id": one.id, "note": one.note, "val_bpb": known.score(one, key)} for one in known.line(key)]
    if json:
        about = {"id": idea.id, "val_bpb": score, "note": idea.note, "settings": idea.settings}
        about |= {"val_bpb_of": looking.number_of(known, idea, key), "recipe_sha": idea.recipe_sha}
        said = {"lineage": line, "doubts": [one.as_json() for one in doubted], "recipe": recipe}
        commands = {"smoke": smoke_command(recipe or COPY, idea), "write": write_command(hardware, local)}
        return looking.print_json({**about, "key": key.model_dump(mode="json"), **said, **commands})
    print(f"{score:.6f}  {idea.id}  {idea.note or idea.kind}  ({looking.number_of(known, idea, key)})")
    print(f"where     {key}")
    for name, value in idea.settings.items():
        print(f"setting   {name}={value}")
    for one in line:
        score_there = "-" if one["val_bpb"] is None else f"{one['val_bpb']:.6f}"
        print(f"lineage   {score_there}  {one['id']}  {one['note']}")
    for doubt in doubted:
        print(f"doubt     {doubt.said}")
    if recipe is not None:
        print(f"recipe    {recipe}\nsmoke     {smoke_command(recipe, idea)}")
    else:
        print(f"recipe    `{write_command(hardware, local)}` writes it into a file")
    return None


def write_command(hardware: str | None, local: bool) -> str:
    """What writes the recipe that is shown into a file."""
    there = [*(["--hardware", hardware] if hardware else []), *(["--local"] if local else [])]
    return shlex.join(["autoresearch", "best", "--recipe", str(COPY), *there])


def smoke_command(recipe: Path, idea: "Idea") -> str:
    """Looks for mistakes in a change of this recipe, in the shape that runs of the changed one will have."""
    settings = [part for name, value in idea.set.items() for part in ("--set", f"{name}={value}")]
    preset = ["--preset", idea.preset] if idea.preset else []
    return shlex.join(["autoresearch", "train", "--recipe", str(recipe), "--smoke", *preset, *settings])


def tell_none(state: "State", why: str, json: bool) -> None:
    from services.console.looking import print_json

    print(f"autoresearch: there is no best recipe yet: {why}; next: {state.next[0].command}", file=sys.stderr)
    if json:
        commands = [step.command for step in state.next]
        print_json({"id": None, "val_bpb": None, "reason": why, "next": commands, "recipe": None})
