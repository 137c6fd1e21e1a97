"""Pictures of runs: the training curve of one, the progress of many. shared/plotting.py says how they look."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from shared.contracts import CurvePoint, RunResult, StepRecord
from shared.plotting import FAILED, MUTED, new_figure, quiet, save, say_empty, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOSS, SCORE, SPEED = "#2f6fb0", "#c4572b", "#5f8f5b"


def plot_training(steps: Sequence[StepRecord], curve: Sequence[CurvePoint], result: RunResult, path: Path) -> None:
    """Loss (and val_bpb, where points of it were kept) over training seconds; tokens/s in a small panel below."""
    figure = new_figure(8.0, 5.2)
    loss_axes, speed_axes = figure.subplots(2, 1, sharex=True, height_ratios=[3.4, 1.0])
    seconds = [step.train_seconds for step in steps]
    loss_axes.plot(seconds, [step.loss for step in steps], color=LOSS, alpha=0.18, linewidth=0.8)
    loss_axes.plot(seconds, [step.loss_ema for step in steps], color=LOSS, linewidth=1.6)
    if result.val_bpb is not None:
        loss_axes.set_ylim(*_loss_limits([step.loss_ema for step in steps]))
    loss_axes.set_ylabel("training loss (mean of the last ~10 steps)", color=LOSS)
    if not steps:
        say_empty(loss_axes, "no step was recorded")
        speed_axes.set_xticks([])
    if curve or result.val_bpb is not None:
        _draw_scores(loss_axes, curve, result)
    speed_axes.plot(seconds, [step.tok_per_sec / 1000 for step in steps], color=SPEED, linewidth=1.0)
    speed_axes.set_ylim(0, max((step.tok_per_sec / 1000 for step in steps), default=1.0) * 1.25)
    speed_axes.set_ylabel("k tokens/s", color=SPEED)
    speed_axes.set_xlabel("training seconds")
    title(loss_axes, _headline(result), f"{result.run_id}, {result.hardware_key}, {result.num_steps:,} steps")
    for axes in (loss_axes, speed_axes):
        quiet(axes)
    save(figure, path)


def _draw_scores(loss_axes: "Axes", curve: Sequence[CurvePoint], result: RunResult) -> None:
    """val_bpb on the right; the final one has its own mark since it may come from another rung than the curve."""
    axes = loss_axes.twinx()
    axes.plot(
        [p.train_seconds for p in curve], [p.val_bpb for p in curve], "o-", color=SCORE, markersize=4, linewidth=1
    )
    if result.val_bpb is not None:
        axes.plot([result.training_seconds], [result.val_bpb], "D", color=SCORE, markersize=6)
    axes.set_ylabel("val_bpb", color=SCORE)
    axes.margins(y=0.15)
    quiet(axes)
    axes.grid(False)


def _loss_limits(losses: Sequence[float]) -> tuple[float | None, float | None]:
    """Leaves the first, steep part out of the scale when the rest would be a flat line under it."""
    finite = sorted(loss for loss in losses if math.isfinite(loss))
    if len(finite) < 20:
        return None, None
    low, high = finite[0], finite[int(0.97 * len(finite))]
    margin = 0.08 * (high - low) or 0.1
    return low - margin, high + margin


def _headline(result: RunResult) -> str:
    if result.val_bpb is None:
        return f"{result.status}: {result.reason}" if result.reason else str(result.status)
    return f"val_bpb {result.val_bpb:.6f} on the {result.rung} rung"


def plot_progress(results: Sequence[RunResult], path: Path) -> None:
    """val_bpb by experiment number, the best so far as a step line, failed experiments as crosses at the bottom.

    The caller passes comparable results, in order: same hardware, dataset, budget and rung.
    """
    figure = new_figure(9.0, 4.6)
    axes = figure.subplots()
    scored = [(number, result.val_bpb) for number, result in enumerate(results, 1) if result.val_bpb is not None]
    best = _running_best(scored)
    until_now = [(len(results), best[-1][1])] if best else []
    axes.plot(*_columns(scored), "o", color=MUTED, markersize=4, alpha=0.8, label="experiment")
    axes.step(*_columns([*best, *until_now]), where="post", color=LOSS, label="best so far")
    axes.plot(*_columns(best), "o", color=LOSS, markersize=5)
    failed = [number for number, result in enumerate(results, 1) if result.val_bpb is None]
    axes.plot(failed, [0.015] * len(failed), "x", color=FAILED, transform=axes.get_xaxis_transform(), label="failed")
    axes.set_xlim(0.5, max(len(results), 1) + 0.5)
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axes.set_xlabel("experiment")
    axes.set_ylabel("val_bpb (lower is better)", color=MUTED)
    if not scored:
        say_empty(axes, "no experiment has a score yet")
    title(axes, _progress_headline(best, len(results)), f"{len(failed)} failed" if failed else "")
    quiet(axes)
    axes.legend(frameon=False, loc="upper right", fontsize=8, labelcolor=MUTED)
    save(figure, path)


def _running_best(scored: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    best: list[tuple[int, float]] = []
    for number, value in scored:
        if not best or value < best[-1][1]:
            best.append((number, value))
    return best


def _columns(pairs: Sequence[tuple[int, float]]) -> tuple[list[int], list[float]]:
    return [x for x, _ in pairs], [y for _, y in pairs]


def _progress_headline(best: Sequence[tuple[int, float]], num_experiments: int) -> str:
    if not best:
        return f"{num_experiments} experiments, none with a score"
    return f"val_bpb {best[0][1]:.4f} to {best[-1][1]:.4f} in {num_experiments} experiments"
