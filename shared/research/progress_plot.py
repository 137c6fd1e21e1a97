"""The picture of a search: every idea in order, and how far the best has come down."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from shared import plotting
from shared.research.history import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KEPT = "#2a7f4f"
LONGEST_NAME = 28


def plot_progress(rows: Sequence[Row], path: Path, where: str) -> None:
    """`rows` of one key, in order. Kept ideas are named; what came to no number stands at the lower edge."""
    figure = plotting.new_figure(11, 5)
    axes = figure.add_subplot()
    scored = [(number, row, row.val_bpb) for number, row in enumerate(rows) if row.val_bpb is not None]
    if not scored:
        plotting.say_empty(axes, "no idea has a number yet")
        return plotting.save(figure, path)
    on_line = [(number, value) for number, row, value in scored if row.state in ("keep", "start")]
    beside = [(number, value) for number, row, value in scored if row.state not in ("keep", "start")]
    _points(axes, beside, "not kept", plotting.MUTED)
    _points(axes, on_line, "start and kept", KEPT)
    _line(axes, on_line, len(rows))
    for number, row, value in scored:
        if row.state == "keep":
            axes.annotate(row.idea.note[:LONGEST_NAME], (number, value), (4, 6), textcoords="offset points", fontsize=7)
    lower = axes.get_ylim()[0]
    _points(axes, [(n, lower) for n, row in enumerate(rows) if row.state == "crash"], "no number", plotting.FAILED)
    axes.set_xlabel("idea")
    axes.set_ylabel("val_bpb")
    axes.legend(frameon=False, fontsize=8)
    plotting.quiet(axes)
    ideas = [row for row in rows if row.state != "start"]
    plotting.title(axes, f"{sum(row.state == 'keep' for row in ideas)} of {len(ideas)} ideas were kept", where)
    return plotting.save(figure, path)


def _points(axes: "Axes", points: Sequence[tuple[int, float]], label: str, color: str) -> None:
    axes.scatter([x for x, _ in points], [y for _, y in points], s=22, color=color, label=label, zorder=3)


def _line(axes: "Axes", on_line: Sequence[tuple[int, float]], end: int) -> None:
    """How low it was at each idea."""
    lowest = [min(value for _, value in on_line[: count + 1]) for count in range(len(on_line))]
    if lowest:
        axes.step([*(number for number, _ in on_line), end], [*lowest, lowest[-1]], where="post", color=KEPT)
