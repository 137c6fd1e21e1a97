"""karpathy/autoresearch's results.tsv: commit, val_bpb, memory_gb, status, description, separated by tabs.

Its tools read it, and know keep, discard and crash alone. An idea that is undecided, or that nobody had decided,
stands there as discard, because it is no part of the best recipe, and its description begins with `undecided:` or
`not decided:`. Instead of a commit it holds the first seven digits of the recipe's hash; a run without a number has
0.000000 and 0.0, as there.
"""

from pathlib import Path

from shared.bounds import one_line
from shared.files import write_atomic
from shared.research.history import Row

HEADER = ("commit", "val_bpb", "memory_gb", "status", "description")
STATUS = {"start": "keep", "keep": "keep", "discard": "discard", "crash": "crash"}
OPEN = ("undecided", "not decided")
"""discard there, with the word before the description"""


def line(recipe_sha: str, val_bpb: float | None, peak_vram_mb: float | None, status: str, description: str) -> str:
    """One line, without its end. `peak_vram_mb` in MiB."""
    memory_gb = (peak_vram_mb or 0.0) / 1024 if val_bpb is not None else 0.0
    return "\t".join([recipe_sha[:7], f"{val_bpb or 0.0:.6f}", f"{memory_gb:.1f}", status, one_line(description)])


def of_row(row: Row) -> str:
    word = f"{row.state}: " if row.state in OPEN else ""
    note, status = f"{word}{row.idea.note or row.idea.kind}", STATUS.get(row.state, "discard")
    return line(row.idea.recipe_sha, row.val_bpb, row.peak_vram_mb, status, note)


def write(path: Path, rows: list[Row]) -> None:
    """Every idea that was run, in order."""
    lines = ["\t".join(HEADER), *(of_row(row) for row in rows if row.state in (*STATUS, *OPEN))]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, "\n".join(lines) + "\n")


def append(path: Path, *lines: str) -> None:
    """Adds lines, and the header to a new file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    is_new = not path.exists() or not path.stat().st_size
    with open(path, "a") as file:
        file.write("".join(f"{text}\n" for text in ([*(["\t".join(HEADER)] if is_new else []), *lines])))
