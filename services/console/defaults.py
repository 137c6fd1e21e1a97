"""`autoresearch defaults`: the platform defaults that this machine knows, its own and those promoted from others."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

app = typer.Typer(help="List, show, compare and take over platform defaults.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document, for programs.")]
Named = Annotated[str, typer.Argument(help="A hardware key, KEY/torch or KEY/mlx, a file, a bundle, or a preset.")]
WIDE = 160  # columns when a program reads: nothing is cut


@app.command("list")
def list_(json: AsJson = False) -> None:
    """List every default in the cache, whether it still holds, and why."""
    from services.console.default_views import cached, entry

    found = [entry(default) for default in cached(warn)]
    if json:
        return print_json(found)
    if not found:
        print("no defaults yet: autoresearch calibrate finds this machine's")
        return None
    columns = ("hardware key", "engine", "shape", "val_bpb", "confidence", "standing", "why")
    table = Table(Column(columns[0], no_wrap=True), *columns[1:], box=None, pad_edge=False)
    for one in found:
        key = f"{one['hardware_key']}{' (this machine)' if one['is_here'] else ''}"
        table.add_row(key, one["engine"], one["says"], one["expects"], one["confidence"], one["standing"], one["why"])
    wide().print(table)
    return None


@app.command()
def show(
    name: Annotated[str | None, typer.Argument(metavar="[HARDWARE_KEY]", help="Default: this machine.")] = None,
    json: AsJson = False,
) -> None:
    """Show one default in full."""
    from services.console.default_views import entry, fields_of, find

    default = find(name)
    if json:
        return print_json({**entry(default), "default": default.model_dump(mode="json")})
    found = entry(default)
    rows = {"standing": f"{found['standing']}: {found['why']}", **fields_of(default)}
    print_rows(("what", "value"), [(what, said(value)) for what, value in rows.items()])
    return None


@app.command()
def diff(first: Named, second: Named, json: AsJson = False) -> None:
    """Show two side by side, and where they differ."""
    from services.console.default_views import side

    sides = side(first), side(second)
    names = [name for name in sides[0] if name in sides[1]]  # a preset is a shape and nothing else
    different = [name for name in names if sides[0][name] != sides[1][name]]
    if json:
        return print_json({"first": sides[0], "second": sides[1], "different": different})
    rows = [
        (name, *(said(one[name]) for one in sides), "differs" if name in different else "") for name in names
    ]  # fmt: skip
    print_rows(("what", first, second, ""), rows)
    return None


@app.command()
def promote(
    path: Annotated[Path, typer.Argument(metavar="BUNDLE_OR_FILE", help="A promotion folder, or a default's file.")],
    json: AsJson = False,
) -> None:
    """Take a default, and a bundle's quality rows, into this machine's cache."""
    from services.console.default_views import entry, is_here, replaced
    from shared.calibration.promotion import add_rows, check_measured, read_bundle
    from shared.experiment.platform_default import write_default

    bundle = read_bundle(path)
    check_measured(bundle)
    for note in bundle.notes:
        warn(note)
    before = replaced(bundle.default)
    num_rows = add_rows(bundle.rows)
    written = write_default(bundle.default)
    if json:
        return print_json({**entry(bundle.default), "path": str(written), "new_rows": num_rows, "replaced": before})
    print(f"{written}{f', instead of the one of {before}' if before else ''}; {num_rows} new quality rows")
    if not is_here(bundle.default):
        print("it is of another machine: calibrations compare with it and start from it, train does not use it here")
    return None


def print_rows(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    wide().print(table, markup=False)


def wide() -> Console:
    return Console(width=None if sys.stdout.isatty() else WIDE, highlight=False)


def said(value: Any) -> str:
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def print_json(document: Any) -> None:
    import json

    print(json.dumps(document))


def warn(text: str) -> None:
    print("autoresearch:", text, file=sys.stderr)
