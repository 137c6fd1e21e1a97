"""The report of a search: Markdown, upstream's results.tsv and a picture, for each key it holds results for."""

from collections.abc import Callable, Sequence
from pathlib import Path

from shared import time_budget
from shared.files import write_atomic
from shared.research import results_tsv
from shared.research.comparable import Key
from shared.research.history import Row, rows, standings
from shared.research.known import Known
from shared.research.noise import Noise
from shared.research.progress_plot import plot_progress
from shared.research.rule import MOST_RUNS, resolvable

STEPS = "Steps (the median of its runs) and memory are what recipes report: on a CPU, val_bpb follows the steps."

UNDECIDED = (
    "It has no word for undecided, nor for not decided, which is what nobody asked about: such an idea stands there as "
    "discard, and its text begins with the word."
)


def write_report(folder: Path, known: Known, noise_of: Callable[[Key], Noise | None]) -> list[Path]:
    """The files it wrote: report.md first. Pictures and tables have one file for each key."""
    folder.mkdir(parents=True, exist_ok=True)
    parts, written = ["# What was tried\n", _standings(known)], [folder / "report.md"]
    for number, key in enumerate(known.all_keys()):
        found = [row for row in rows(known) if row.key in (None, key)]
        suffix = f"-{number + 1}" if number else ""
        picture, table = folder / f"progress{suffix}.png", folder / f"results{suffix}.tsv"
        plot_progress(found, picture, str(key))
        results_tsv.write(table, found)
        parts.append(_section(known, key, found, noise_of(key), picture.name, table.name))
        written += [picture, table]
    write_atomic(written[0], "\n".join(parts))
    return written


def _standings(known: Known) -> str:
    """Numbers of different machines do not compare: the table only says how far each came."""
    lines = ["| hardware key | budget, rung | val_bpb | steps | reported memory | idea |", "|---|---|---|---|---|---|"]
    for row in standings(known):
        assert row.key is not None
        memory = "-" if row.peak_vram_mb is None else f"{row.peak_vram_mb:,.0f} MiB"
        what = f"{row.idea.id} {_safe(row.idea.note)}"
        key = f"{row.key.hardware_key} | {time_budget.said(row.key.budget_seconds)}, {row.key.rung}"
        lines.append(f"| {key} | {row.val_bpb or 0:.6f} | {_steps(row)} | {memory} | {what} |")
    return "\n".join(["## Standings\n", f"The best of each. {STEPS}\n", *lines, ""])


def _section(known: Known, key: Key, found: Sequence[Row], noise: Noise | None, picture: str, table: str) -> str:
    best = known.best(key)
    lines = [f"## {key}\n", f"![progress]({picture}) Upstream's table: [{table}]({table}). {UNDECIDED}\n"]
    if noise and best:
        smallest = resolvable(noise, MOST_RUNS, len(known.pool(best[0], key).results))
        lines.append(f"Noise: sigma {noise.sigma:.6f} ({noise.source}); {MOST_RUNS} runs resolve {smallest:.6f}.\n")
    else:
        lines.append("Noise: not measured, so nothing could be kept.\n")
    if best:
        lines += ["How the best came about:\n"]
        lines += [f"- {known.score(one, key) or 0:.6f} `{one.id}` {_safe(one.note)}" for one in known.line(key)]
    lines += [
        "",
        "| idea | parent | verdict | val_bpb | steps | gain | runs | failed | what | why |",
        "|" + "---|" * 10,
    ]
    return "\n".join([*lines, *(_line(row) for row in found), ""])


def _line(row: Row) -> str:
    number = "-" if row.val_bpb is None else f"{row.val_bpb:.6f}"
    gain = "-" if row.effect is None else f"{row.effect:+.6f}"
    said = f"{row.num_runs} | {row.num_failed} | {_safe(row.idea.note)} | {_safe(row.reason)}"
    return f"| {row.idea.id} | {row.idea.parent or '-'} | {row.state} | {number} | {_steps(row)} | {gain} | {said} |"


def _steps(row: Row) -> str:
    return "-" if row.num_steps is None else f"{row.num_steps:g}"


def _safe(text: str) -> str:
    """As text inside a Markdown table: agents and recipes wrote it."""
    return "".join(f"\\{char}" if char in r"\`*_{}[]<>|!#" else char for char in text)
