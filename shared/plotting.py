"""How this project's pictures look: PNG files, drawn without a display.

matplotlib is imported when the first picture is drawn (about 1 s).
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID = "#222222", "#8a8f98", "#e6e8eb"
FAILED = "#b3392f"


def say_empty(axes: "Axes", text: str) -> None:
    axes.set_yticks([])
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", color=MUTED)


def new_figure(width_inch: float, height_inch: float) -> "Figure":
    """A figure of its own, without pyplot's global state, so that any thread may draw."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.10)
    return Figure(figsize=(width_inch, height_inch), dpi=130, layout=layout, facecolor="white")


def title(axes: "Axes", headline: str, detail: str) -> None:
    axes.set_title(headline[:100], loc="left", pad=20, color=INK, fontsize=12, fontweight="bold")
    axes.annotate(detail, (0, 1), (0, 7), xycoords="axes fraction", textcoords="offset points", color=MUTED, fontsize=9)


def quiet(axes: "Axes") -> None:
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.xaxis.label.set(color=MUTED, fontsize=9)
    axes.yaxis.label.set_fontsize(9)
    axes.tick_params(which="both", colors=MUTED, labelsize=8, length=0)
    for side in ("top", "left", "right"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GRID)


def save(figure: "Figure", path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure).print_png(path)
