"""The report's pictures: val_bpb against tokens, speed and memory against batch, the front, what scoring costs."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from services.calibrator.envelope_model import BAND_LIMITS, Band, Family, model_of
from services.calibrator.report.points import LATER, Point, Points
from services.calibrator.report.subject import Subject
from shared.experiment.presets import find_preset
from shared.plotting import GRID, INK, MUTED, new_figure, quiet, save, say_empty, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

COLORS = ("#2f6fb0", "#c4572b", "#5f8f5b", "#8757a8", "#b08a2f", "#3b9aa0", "#7a5548")
FIRST_BUDGET = 1 / 64
Draw = Callable[[Subject, Points, Path], None]


def draw_all(subject: Subject, points: Points, folder: Path) -> tuple[dict[str, str], list[str]]:
    """File name and caption of each picture that was drawn, and one line for each that could not be."""
    drawn, failures = {}, []
    for name, (caption, draw) in PLOTS.items():
        try:
            folder.mkdir(exist_ok=True)
            draw(subject, points, folder / name)
            drawn[f"{folder.name}/{name}"] = caption
        except Exception as error:  # a picture must not cost anybody the report
            failures.append(f"{name} could not be drawn: {type(error).__name__}: {' '.join(str(error).split())[:200]}")
    return drawn, failures


def draw_quality(subject: Subject, points: Points, path: Path) -> None:
    """Expected curves of each family's best shape, with one spread; runs as dots."""
    figure = new_figure(9.0, 5.2)
    axes = figure.subplots()
    shown = [point for name in points.families if (point := points.best_later(name))]
    marks = [
        mark for point in shown for mark in _draw_family_quality(axes, subject, point, color_of(points, point.preset))
    ]
    axes.plot([], [], "o", color=MUTED, label="run of the drawn shape")
    axes.plot([], [], "o", markerfacecolor="white", color=MUTED, label="run of another batch or length")
    axes.plot([], [], "D", color=MUTED, label=f"expected at {subject.target_s:g} s")
    axes.set_xscale("log")
    # what comes before the first run is the same for all: no model yet
    axes.set_ylim(top=1.05 * max(score for _, score in marks))
    axes.set_xlim(left=0.5 * min(tokens for tokens, _ in marks))
    _in_log(axes.xaxis, counted)
    axes.set_xlabel("training tokens (log scale)")
    axes.set_ylabel(f"val_bpb on {subject.prior.rung}, bits per byte (lower is better)")
    title(
        axes, "Expected and measured val_bpb against tokens", "lines: quality table with this machine's runs, +- 1 sd"
    )
    quiet(axes)
    _legend(axes)
    save(figure, path)


def _draw_family_quality(axes: "Axes", subject: Subject, point: Point, color: str) -> list[tuple[float, float]]:
    """Tokens and val_bpb of its runs and of its diamond."""
    _draw_curve(axes, subject, point, color)
    expected = point.tok_per_sec * subject.target_s, point.val_bpb
    return [expected, *_draw_runs(axes, subject, point, color)]


def _draw_curve(axes: "Axes", subject: Subject, point: Point, color: str) -> None:
    budgets = np.geomspace(FIRST_BUDGET, LATER, 60)
    tokens = point.tok_per_sec * subject.target_s * budgets
    tokens = tokens[tokens >= point.shape.total_batch_size]
    predictions = subject.table.predict_many([(point.shape, round(count)) for count in tokens])
    spread = np.sqrt(np.maximum(np.diag(predictions.covariance()), 0.0))
    mean = predictions.val_bpb
    axes.fill_between(tokens, mean - spread, mean + spread, color=color, alpha=0.10, linewidth=0)
    axes.plot(tokens, mean, color=color, linewidth=1.6, label=f"{point.preset}, {short(point)}")
    axes.plot([point.tok_per_sec * subject.target_s], [point.val_bpb], "D", color=color, markersize=7, zorder=4)


def _draw_runs(axes: "Axes", subject: Subject, point: Point, color: str) -> list[tuple[float, float]]:
    rung, model = subject.prior.rung, model_of(point.shape)
    marks = []
    for outcome in subject.found.outcomes():
        if outcome.val_bpb is None or outcome.probe.rung is not rung or model_of(outcome.probe.shape) != model:
            continue
        marks.append((float(outcome.num_tokens), outcome.val_bpb))
        face = color if outcome.probe.shape == point.shape else "white"
        axes.plot(
            [outcome.num_tokens], [outcome.val_bpb], "o", color=color, markerfacecolor=face, markersize=5, zorder=3
        )
    return marks


def draw_envelope(subject: Subject, points: Points, path: Path) -> None:
    """Tokens/s and memory against device batch: measured, and the line through it."""
    figure = new_figure(9.5, 6.4)
    speed, memory = figure.subplots(2, 1, sharex=True)
    for family in sorted(subject.envelope.envelope.families, key=lambda one: one.flops_per_token):
        _draw_family(subject, family, speed, memory, color_of(points, family.preset))
    speed.set_ylabel("tokens/s (log scale)")
    memory.set_ylabel("peak memory, MiB (log scale)")
    memory.set_xlabel("device batch, rows of one pass (log scale)")
    memory.set_xscale("log", base=2)
    memory.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    for axes in (speed, memory):
        axes.set_yscale("log")
        _in_log(axes.yaxis, counted)
    total = subject.envelope.envelope.memory_mb
    for band, limit in BAND_LIMITS.items():
        memory.axhline(limit * total, color=MUTED, linewidth=0.8, linestyle=":")
        memory.annotate(
            f"{band}: {limit:.0%}", (1, limit * total), (4, 0), xycoords=("axes fraction", "data"),
            textcoords="offset points", color=MUTED, fontsize=7,
            va="bottom" if band is Band.PRESSURED else "top",
        )  # fmt: skip
    title(speed, "Speed and memory against device batch", "dots: probes; solid lines: fitted; dashed: inferred")
    for axes in (speed, memory):
        quiet(axes)
    _legend(speed)
    save(figure, path)


def _draw_family(subject: Subject, family: Family, speed: "Axes", memory: "Axes", color: str) -> None:
    shape = find_preset(family.preset).shape
    line = "--" if family.inferred else "-"
    found = [one for key in family.probes if (one := subject.book.outcome(key))] if not family.inferred else []
    good = [one for one in found if one.is_ok]
    rows = np.geomspace(1, max(family.largest_pass_tokens // shape.seq_len, 1), 40)
    if family.largest_pass_tokens >= shape.seq_len:
        tokens = rows * shape.seq_len
        passes = np.array([family.pass_seconds.at(count) for count in tokens])
        speed.plot(rows, tokens / passes, line, color=color, label=f"{family.preset}, rows of {shape.seq_len}")
        memory.plot(rows, [family.memory_mb.at(count) for count in tokens], line, color=color)
    batches = [one.probe.shape.device_batch_size for one in good]
    speed.plot(batches, [one.tok_per_sec or np.nan for one in good], "o", color=color, markersize=5)
    memory.plot(batches, [one.peak_memory_mb or np.nan for one in good], "o", color=color, markersize=5)
    bad = [one.probe.shape.device_batch_size for one in found if not one.is_ok]
    if bad:
        place, label = (bad, [0.04] * len(bad)), f"{family.preset}: did not come to its end"
        speed.plot(*place, "x", color=color, transform=speed.get_xaxis_transform(), markersize=8, label=label)


def draw_front(subject: Subject, points: Points, path: Path) -> None:
    """val_bpb against tokens/s. A picture only: throughput is already inside val_bpb at a fixed time."""
    figure = new_figure(8.5, 5.0)
    axes = figure.subplots()
    best = [point for name in points.families if (point := points.best(name))]
    ranked = [points.of_shape(one.preset, one.shape, one.tok_per_sec) for one in subject.search.ranked]
    others = [(one.tok_per_sec, one.val_bpb) for one in ranked]
    axes.plot(*_columns(others), "o", color=MUTED, markersize=4, alpha=0.7, label="other shapes of the search")
    for point in best:
        axes.errorbar(
            [point.tok_per_sec], [point.val_bpb], yerr=[point.spread], fmt="o", capsize=3, markersize=7,
            color=color_of(points, point.preset), label=f"best of {point.preset}, +- 1 sd",
        )  # fmt: skip
    front = _front([*others, *((point.tok_per_sec, point.val_bpb) for point in best)])
    axes.plot(*_columns(front), color=INK, linewidth=1.0, linestyle=":", label="front: no shape is better in both")
    winner = points.winner
    axes.plot(
        [winner.tok_per_sec], [winner.val_bpb], "o", markersize=15, color=INK, fillstyle="none", label="recommended"
    )
    axes.set_xscale("log")
    axes.margins(x=0.12, y=0.15)
    _in_log(axes.xaxis, counted)
    axes.set_xlabel("tokens/s (log scale)")
    axes.set_ylabel(f"expected val_bpb at {subject.target_s:g} s, bits per byte")
    title(axes, "Quality against speed", "speed is already inside val_bpb at a fixed time: the front is not the rule")
    quiet(axes)
    _legend(axes)
    save(figure, path)


def draw_rungs(subject: Subject, points: Points, path: Path) -> None:
    """Seconds of scoring, and of everything around it, for each rung that was measured."""
    figure = new_figure(7.5, 3.6)
    axes = figure.subplots()
    costs = subject.rungs.costs
    names = [f"{cost.rung}\n{cost.num_tokens:,} tokens" for cost in costs]
    scoring = [cost.seconds for cost in costs]
    around = [max(0.0, cost.total_seconds - cost.seconds) for cost in costs]
    axes.barh(names, scoring, color=COLORS[0], height=0.5, label="scoring")
    axes.barh(names, around, left=scoring, color=GRID, height=0.5, label="start-up and audit")
    for place, cost in enumerate(costs):
        share = f"{cost.total_seconds:.1f} s, scoring {cost.seconds / subject.target_s:.1%} of the budget"
        text = f"{share}, error {cost.error:+.4f}" + ("  (chosen)" if cost.rung is subject.rungs.chosen else "")
        axes.annotate(text, (cost.total_seconds, place), (6, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_xlim(0, 2.2 * max([cost.total_seconds for cost in costs] or [1.0]))
    axes.set_xlabel("seconds")
    if not costs:
        say_empty(axes, "no checkpoint was scored")
    title(axes, "What scoring costs", "one checkpoint; error: val_bpb against the largest rung that was measured")
    quiet(axes)
    axes.grid(visible=False)
    axes.invert_yaxis()
    if costs:
        axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.22), ncol=2)
    save(figure, path)


def _front(pairs: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Fastest first; each slower one must score lower."""
    front: list[tuple[float, float]] = []
    for speed, score in sorted(pairs, reverse=True):
        if not front or score < front[-1][1]:
            front.append((speed, score))
    return front


def _columns(pairs: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in pairs], [y for _, y in pairs]


def short(point: Point) -> str:
    shape = point.shape
    return f"seq {shape.seq_len}, {shape.device_batch_size}/{shape.total_batch_size}"


def color_of(points: Points, preset: str) -> str:
    """One colour a model in all pictures."""
    models = [model_of(find_preset(name).shape) for name in points.families]
    model = model_of(find_preset(preset).shape)
    return COLORS[models.index(model) % len(COLORS)] if model in models else MUTED


def counted(value: float) -> str:
    """20k, 1.5M"""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _in_log(axis: "Axis", say: Callable[[float], str]) -> None:
    """Marks at 1, 2 and 5 times powers of ten."""
    from matplotlib.ticker import LogLocator, NullLocator

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(lambda value, _: say(value))


def _legend(axes: "Axes") -> None:
    """Beside the picture, so that it covers nothing."""
    axes.legend(
        frameon=False, fontsize=8, labelcolor=INK, labelspacing=0.8, loc="upper left", bbox_to_anchor=(1.02, 1.0)
    )


PLOTS: dict[str, tuple[str, Draw]] = {
    "val_bpb_by_tokens.png": ("Expected and measured val_bpb against tokens", draw_quality),
    "speed_and_memory.png": ("Tokens/s and memory against device batch", draw_envelope),
    "front.png": ("val_bpb against tokens/s", draw_front),
    "rung_costs.png": ("What scoring costs on each rung", draw_rungs),
}
