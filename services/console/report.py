"""`autoresearch report`: what was tried, in files that people read."""

from pathlib import Path
from typing import Annotated

import typer

from services.console.options import AsJson, Local


def report(
    output: Annotated[Path, typer.Option(metavar="DIR", help="Where to write.")] = Path("results"),
    local: Local = False,
    json: AsJson = False,
) -> None:
    """Write report.md, upstream's results.tsv and a picture of the progress, for each kind of comparable results."""
    from services.console import briefing, looking
    from services.console.research import place
    from shared.research.report import write_report

    where = place(local)
    known = where.known()
    if not known.all_keys():
        raise ValueError(briefing.nothing_counts(known))
    written = write_report(output, known, lambda key: looking.noise_of(where, known, key))
    if json:
        return looking.print_json({"files": [str(path) for path in written]})
    return print(*written, sep="\n")
