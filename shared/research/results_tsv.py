"""karpathy/autoresearch's results.tsv: commit, val_bpb, memory_gb, status, description, separated by tabs.

Its tools read it, and know keep, discard and crash alone. An idea that is undecided stands there as discard, because
it is no part of the best recipe, and its description begins with `undecided:`. Instead of a commit it holds the first
seven digits of the recipe's hash; a run without a number has 0.000000 and 0.0, as there.
"""

from pathlib import Path

from shared.bounds import one_line
from shared.files import write_atomic
from shared.research.history import Row

HEADER = ("commit", "val_bpb", "memory_gb", "status", "description")
STATUS = {"start": "keep", "keep": "keep", "discard": "discard", "undecided": "discard", "crash": "crash"}


def line(recipe_sha: str, val_bpb: float | None, peak_vram_mb: float | None, status: str, description: str) -> str:
    """One line, without its end. `peak_vram_mb` in MiB."""
    memory_gb = (peak_vram_mb or 0.0) / 1024 if val_bpb is not None else 0.0
    return "\t".join([recipe_sha[:7], f"{val_bpb or 0.0:.6f}", f"{memory_gb:.1f}", status, one_line(description)])


def of_row(row: Row) -> str:
    undecided = "undecided: " if row.state == "undecided" else ""
    note = f"{undecided}{row.idea.note or row.idea.kind}"
    return line(row.idea.recipe_sha, row.val_bpb, row.peak_vram_mb, STATUS[row.state], note)


def write(path: Path, rows: list[Row]) -> None:
    """Every idea that was run, in order."""
    lines = ["\t".join(HEADER), *(of_row(row) for row in rows if row.state in STATUS)]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, "\n".join(lines) + "\n")


def append(path: Path, *lines: str) -> None:
    """Adds lines, and the header to a new file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    is_new = not path.exists() or not path.stat().st_size
    with open(path, "a") as file:
        file.write("".join(f"{text}\n" for text in ([*(["\t".join(HEADER)] if is_new else []), *lines])))
