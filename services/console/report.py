"""`autoresearch report`: what was tried, in files that people read."""

from pathlib import Path
from typing import Annotated

import typer

from services.console.options import AsJson, Local

REPORT = Path("results/report")
"""apart from results/results.tsv, which sweeps append to"""
WHAT = {
    ".md": "the report: standings, how the best came about, and every idea with its verdict",
    ".png": "picture: val_bpb of every idea in order, and how far the best has come down",
    ".tsv": "upstream's table, for its tools: what is undecided or not decided stands there as discard",
}


def report(
    output: Annotated[Path, typer.Option(metavar="DIR", help="Where to write.")] = REPORT,
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
        what = {str(path): WHAT[path.suffix] for path in written}
        return looking.print_json({"files": list(what), "what": what})
    for path in written:
        print(f"{path}  {WHAT[path.suffix]}")
    return None
